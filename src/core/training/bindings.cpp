#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/input_error.hpp"
#include "base/numpy.hpp"
#include "base/parallel.hpp"
#include "base/simd.hpp"
#include "training/planner.hpp"
#include "training/trainer.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

template <typename T>
using Rows = nb::ndarray<T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using PathArrays = std::tuple<ArrayView<int64_t>, ArrayView<int32_t>, ArrayView<int8_t>>;  // as in a Tree
using BagArrays = std::tuple<ArrayView<int64_t>, ArrayView<uint32_t>>;                     // offsets, rows

constexpr std::pair<const char*, Sharing> kSharings[] = {
    {"block", Sharing::block}, {"window", Sharing::window}, {"pair", Sharing::pair}};

Sharing sharing_named(const std::string& name) {
    for (const auto& [known, sharing] : kSharings)
        if (name == known) return sharing;
    throw InputError("sharing is '" + name + "': give block, window or pair.");
}

std::string name_of(Sharing sharing) {
    for (const auto& [name, known] : kSharings)
        if (sharing == known) return name;
    throw std::logic_error("a sharing without a name");
}

void bind_settings(nb::module_& m) {
    nb::class_<Settings>(m, "Settings", "Training options; see task.hpp.")
        .def("__init__",
             [](Settings* self, const nb::kwargs& fields) {
                 nb::object settings = nb::cast(Settings());
                 for (const auto& [name, value] : fields) nb::setattr(settings, name, value);
                 new (self) Settings(nb::cast<Settings>(settings));
             })
        .def_rw("window", &Settings::window)
        .def_rw("shrink_window", &Settings::shrink_window)
        .def_rw("cbow", &Settings::cbow)
        .def_rw("cbow_mean", &Settings::cbow_mean)
        .def_rw("cbow_divides", &Settings::cbow_divides)
        .def_prop_rw(
            "sharing", [](const Settings& settings) { return name_of(settings.sharing); },
            [](Settings& settings, const std::string& name) { settings.sharing = sharing_named(name); })
        .def_rw("negatives", &Settings::negatives)
        .def_rw("drawn", &Settings::drawn)
        .def_rw("block", &Settings::block)
        .def_rw("learning_rate", &Settings::learning_rate)
        .def_rw("min_learning_rate", &Settings::min_learning_rate)
        .def_rw("epochs", &Settings::epochs)
        .def_rw("seed", &Settings::seed)
        .def_rw("chunk", &Settings::chunk);
}

nb::object words(const uint32_t* first, int count) {
    return nb::cast(to_numpy(std::vector<uint32_t>(first, first + count)));
}

void bind_plan(nb::module_& m) {
    nb::class_<Plan>(m, "Plan",
                     "One training step as words, for tests: centres, the columns of their windows, negatives.")
        .def_prop_ro("centres", [](const Plan& plan) { return words(plan.word, plan.centres); })
        .def_prop_ro("context", [](const Plan& plan) { return words(plan.context, plan.columns); })
        .def_prop_ro("negatives", [](const Plan& plan) { return words(plan.word + plan.centres, plan.negatives); })
        .def_ro("rate", &Plan::rate)
        .def_prop_ro("path", [](const Plan& plan) { return nb::make_tuple(plan.path, plan.path_end); })
        .def(
            "in_window", [](const Plan& plan, int column, int centre) { return plan.in_window(column, centre); },
            nb::arg("column"), nb::arg("centre"));
}

Task make_task(const ArrayView<uint32_t>& ids, const ArrayView<uint32_t>& keep, const Settings& settings,
               const std::optional<ArrayView<double>>& noise, const std::optional<PathArrays>& paths) {
    const int block = settings.block;
    if (block < 1 || block > kMaxCentres || settings.negatives + block > kMaxOutputs ||
        settings.drawn + block > kMaxOutputs)
        throw std::invalid_argument("a block has no room for so many centres and negatives");
    if (settings.window < 1 || 2 * settings.window + block > kMaxInputs)
        throw std::invalid_argument("a block has no room for so wide a window");
    if (noise.has_value() == paths.has_value()) throw std::invalid_argument("give either noise or paths");
    Task task{{ids.data(), ids.size(), keep.data()}, {}, {}, {}, settings};
    if (noise) {
        task.noise = AliasTable(noise->data(), noise->size());
        return task;
    }
    if (block != 1) throw std::invalid_argument("hierarchical softmax takes blocks of one centre");
    const auto& [offsets, nodes, signs] = *paths;
    task.paths.offsets.assign(offsets.data(), offsets.data() + offsets.size());
    for (size_t i = 0; i < nodes.size(); ++i)
        task.paths.steps.push_back(2 * static_cast<uint32_t>(nodes.data()[i]) + (signs.data()[i] > 0));
    return task;
}

// The input rows of a vocabulary's words. Throws std::invalid_argument if a bag is empty or names a row that does not
// exist, or if sizes do not match.
Inputs make_inputs(size_t words, size_t rows, const std::optional<BagArrays>& bags,
                   const std::optional<ArrayView<uint8_t>>& frozen) {
    Inputs inputs{words, {}, nullptr};
    if (bags) {
        const auto& [offsets, ids] = *bags;
        if (offsets.size() != words + 1 || offsets.data()[0] != 0 || offsets.data()[words] != int64_t(ids.size()))
            throw std::invalid_argument("bags are not one per word");
        for (size_t i = 0; i < words; ++i)
            if (offsets.data()[i] >= offsets.data()[i + 1]) throw std::invalid_argument("a bag is empty");
        if (std::any_of(ids.data(), ids.data() + ids.size(), [&](uint32_t id) { return id >= rows; }))
            throw std::invalid_argument("a bag names a row that is not there");
        inputs.bags = {offsets.data(), ids.data()};
    } else if (rows != words) {
        throw std::invalid_argument("without bags there is one row per word");
    }
    if (frozen) {
        if (frozen->size() != words) throw std::invalid_argument("frozen is not one flag per word");
        inputs.frozen = frozen->data();
    }
    return inputs;
}

nb::ndarray<nb::numpy, float> view(Matrix& matrix, nb::handle owner) {
    const size_t shape[] = {matrix.rows(), static_cast<size_t>(matrix.dim())};
    const int64_t strides[] = {matrix.stride(), 1};
    return nb::ndarray<nb::numpy, float>(matrix.data(), 2, shape, owner, strides);
}

void bind_trainer(nb::module_& m) {
    nb::class_<Statistics>(m, "ChunkStatistics",
                           "Totals of a run of chunks: words, examples, and the sum of the losses.")
        .def_ro("words", &Statistics::words)
        .def_ro("examples", &Statistics::examples)
        .def_ro("loss_sum", &Statistics::loss);

    nb::class_<Trainer>(m, "Trainer", "Hogwild training of word vectors, behind vastmax.embeddings.EmbeddingTrainer.")
        .def(
            "__init__",
            [](Trainer* self, const ArrayView<uint32_t>& ids, const ArrayView<uint32_t>& keep, const Settings& settings,
               int dim, size_t outputs, const std::optional<ArrayView<double>>& noise,
               const std::optional<PathArrays>& paths, const std::optional<size_t>& inputs,
               const std::optional<BagArrays>& bags, const std::optional<ArrayView<uint8_t>>& frozen,
               const std::optional<std::string>& level) {
                const Kernels* kernels = level ? kernels_named(*level, "simd_level") : best_kernels();
                Task task = make_task(ids, keep, settings, noise, paths);
                const size_t rows = inputs.value_or(keep.size());
                task.inputs = make_inputs(keep.size(), rows, bags, frozen);
                if (!task.inputs.plain() && 2 * (settings.window + settings.block) > kMaxInputs)
                    throw std::invalid_argument("there is no room for working rows of so wide a window");
                new (self) Trainer(std::move(task), rows, outputs, dim, *kernels);
            },
            nb::kw_only(), nb::arg("ids").noconvert(), nb::arg("keep").noconvert(), nb::arg("settings"), nb::arg("dim"),
            nb::arg("outputs"), nb::arg("noise") = nb::none(), nb::arg("paths") = nb::none(),
            nb::arg("inputs") = nb::none(), nb::arg("bags").noconvert() = nb::none(),
            nb::arg("frozen").noconvert() = nb::none(), nb::arg("level") = nb::none(), nb::keep_alive<1, 2>(),
            nb::keep_alive<1, 3>(), nb::keep_alive<1, 10>(), nb::keep_alive<1, 11>())
        .def("run", &Trainer::run, nb::arg("first"), nb::arg("last"), nb::arg("threads"),
             nb::call_guard<nb::gil_scoped_release>())
        .def(
            "plans",
            [](const Trainer& trainer, size_t epoch, size_t chunk) {
                Planner planner(trainer.task);
                std::vector<Plan> plans;
                planner.begin(epoch, chunk);
                for (Plan plan; planner.next(plan);) plans.push_back(plan);
                return plans;
            },
            nb::arg("epoch"), nb::arg("chunk"), "Return the training steps of a chunk.")
        .def(
            "learning_rate",
            [](const Trainer& trainer, double position) { return trainer.task.learning_rate(position); },
            nb::arg("position"))
        .def("discard_outputs", [](Trainer& trainer) { trainer.matrices.outputs.discard(); })
        .def(
            "take_vectors",
            [](Trainer& trainer, size_t first) {
                if (first > trainer.matrices.vectors.rows()) throw std::invalid_argument("there is no such row");
                auto* taken = new Matrix(std::move(trainer.matrices.vectors));
                const nb::capsule owner(taken, [](void* matrix) noexcept { delete static_cast<Matrix*>(matrix); });
                taken->pack(first);
                return view(*taken, owner);
            },
            nb::arg("first"), "Move the input rows from this row on out of the trainer, which then has none.")
        .def_prop_ro("chunks_an_epoch", [](const Trainer& trainer) { return trainer.task.chunks_an_epoch(); })
        .def_prop_ro("level", [](const Trainer& trainer) { return trainer.kernels.name; })
        .def_prop_ro("vectors",
                     [](nb::handle_t<Trainer> self) { return view(nb::cast<Trainer&>(self).matrices.vectors, self); })
        .def_prop_ro("outputs",
                     [](nb::handle_t<Trainer> self) { return view(nb::cast<Trainer&>(self).matrices.outputs, self); });
}

// One step of the kernels on given rows and weights, without a trainer, for tests and benchmarks.
double kernel_step(const std::string& level, const Rows<float>& outputs, const Rows<float>& inputs,
                   const Rows<const float>& positive, const Rows<const float>& total, float rate, int repeat) {
    const Kernels* kernels = kernels_named(level, "level");
    const size_t k = outputs.shape(0), m = inputs.shape(0);
    const int dim = static_cast<int>(outputs.shape(1));
    if (inputs.shape(1) != outputs.shape(1)) throw std::invalid_argument("rows differ in length");
    for (const auto& weights : {positive, total})
        if (weights.shape(0) != k || weights.shape(1) != m)
            throw std::invalid_argument("weights are not (outputs, inputs)");
    if (k > kMaxOutputs || m > kMaxInputs || k == 0 || m == 0) throw std::invalid_argument("too many or no rows");
    Matrix o(k, dim), c(m, dim), p(m, kMaxOutputs), a(m, kMaxOutputs), score(kMaxInputs + kRowMultiple, kMaxOutputs);
    Matrix gradient(kMaxInputs, dim);
    Block block;
    block.outputs = static_cast<int>(k);
    block.inputs = static_cast<int>(m);
    const auto copy = [](const auto& from, Matrix& to, size_t i) {
        std::copy_n(from.data() + i * from.shape(1), from.shape(1), to.row(i));
    };
    for (size_t i = 0; i < k; ++i) {
        copy(outputs, o, i), block.output_rows[i] = o.row(i);
        for (size_t j = 0; j < m; ++j) p.row(j)[i] = positive(i, j), a.row(j)[i] = total(i, j);
    }
    for (size_t j = 0; j < m; ++j) {
        copy(inputs, c, j), block.input_rows[j] = c.row(j);
        block.positive[j] = p.row(j), block.total[j] = a.row(j);
    }
    double loss = 0;
    {
        nb::gil_scoped_release release;
        for (int i = 0; i < repeat; ++i) loss = kernels->step(block, o.stride(), rate, {score.data(), gradient.data()});
    }
    for (size_t i = 0; i < k; ++i) std::copy_n(o.row(i), dim, outputs.data() + i * outputs.shape(1));
    for (size_t j = 0; j < m; ++j) std::copy_n(c.row(j), dim, inputs.data() + j * inputs.shape(1));
    return loss;
}

// Sets row i of `out` to the mean of the rows of `table` that bag i names, to zero if the bag is empty.
void bag_means(const nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>& table, const BagArrays& bags,
               const Rows<float>& out, size_t threads) {
    const auto& [offsets, rows] = bags;
    const size_t dim = table.shape(1);
    if (table.stride(1) != 1 && dim > 1 && table.shape(0) > 0)
        throw std::invalid_argument("the numbers of a row are not next to each other");
    const size_t stride = static_cast<size_t>(table.stride(0));
    if (out.shape(1) != dim || offsets.size() != out.shape(0) + 1) throw std::invalid_argument("shapes do not fit");
    const auto* begins = offsets.data();
    const auto* ids = rows.data();
    const float* from = table.data();
    float* to = out.data();
    constexpr size_t words_a_part = 1024;
    const size_t count = out.shape(0);
    nb::gil_scoped_release release;
    parallel_for((count + words_a_part - 1) / words_a_part, threads, [&](size_t, size_t part) {
        std::vector<double> sums(dim);
        for (size_t i = part * words_a_part; i < std::min(count, (part + 1) * words_a_part); ++i) {
            std::fill(sums.begin(), sums.end(), 0.0);
            for (int64_t j = begins[i]; j < begins[i + 1]; ++j)
                for (size_t x = 0; x < dim; ++x) sums[x] += static_cast<double>(from[ids[j] * stride + x]);
            const double size = static_cast<double>(std::max<int64_t>(1, begins[i + 1] - begins[i]));
            for (size_t x = 0; x < dim; ++x) to[i * dim + x] = static_cast<float>(sums[x] / size);
        }
    });
}

Array<uint32_t> draw_noise(const ArrayView<double>& weights, uint64_t seed, uint64_t epoch, uint64_t chunk,
                           size_t count) {
    const AliasTable table(weights.data(), weights.size());
    Random random(seed, epoch, chunk);
    std::vector<uint32_t> drawn(count);
    table.draw(random, drawn.data(), count);
    return to_numpy(std::move(drawn));
}

}  // namespace

void bind_training(nb::module_& m) {
    bind_settings(m);
    bind_plan(m);
    bind_trainer(m);
    m.def("simd_levels", &simd_levels);
    m.def("kernel_step", &kernel_step, nb::arg("level"), nb::arg("outputs"), nb::arg("inputs"), nb::arg("positive"),
          nb::arg("total"), nb::arg("rate"), nb::arg("repeat") = 1);
    m.def("bag_means", &bag_means, nb::arg("table"), nb::arg("bags"), nb::arg("out"), nb::arg("threads"),
          "Fill out (n, d) float32 with the means of the rows of table (any, d) that each of n bags names.");
    m.def("draw_noise", &draw_noise, nb::arg("weights"), nb::arg("seed"), nb::arg("epoch"), nb::arg("chunk"),
          nb::arg("count"));
}

}  // namespace vastmax
