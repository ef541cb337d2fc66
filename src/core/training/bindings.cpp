#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "worker.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace vastmax {
namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Rows = nb::ndarray<T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

Sharing sharing_named(const std::string& name) {
    if (name == "pair") return Sharing::pair;
    return name == "window" ? Sharing::window : Sharing::block;
}

nb::ndarray<nb::numpy, float> view(Matrix& matrix, nb::handle owner) {
    const std::size_t shape[] = {matrix.rows(), static_cast<std::size_t>(matrix.dim())};
    const std::int64_t strides[] = {matrix.stride(), 1};
    return nb::ndarray<nb::numpy, float>(matrix.data(), 2, shape, owner, strides);
}

// One step of the kernels on given rows and weights, for tests and benchmarks: what the trainers do, without a trainer.
double step(const std::string& level, Rows<float> outputs, Rows<float> inputs, Rows<const float> positive,
            Rows<const float> total, float rate, int repeat) {
    const Kernels* kernels = kernels_named(level, "level");
    const std::size_t k = outputs.shape(0), m = inputs.shape(0);
    const int dim = static_cast<int>(outputs.shape(1));
    if (inputs.shape(1) != outputs.shape(1)) throw std::invalid_argument("rows differ in length");
    for (const auto& weights : {positive, total})
        if (weights.shape(0) != k || weights.shape(1) != m) throw std::invalid_argument("weights are not (outputs, inputs)");
    if (k > kMaxOutputs || m > kMaxInputs || k == 0 || m == 0) throw std::invalid_argument("too many or no rows");
    Matrix o(k, dim), c(m, dim), p(m, kMaxOutputs), a(m, kMaxOutputs), score(kMaxInputs + kRowMultiple, kMaxOutputs);
    Matrix gradient(kMaxInputs, dim);
    Block block;
    block.outputs = static_cast<int>(k);
    block.inputs = static_cast<int>(m);
    const auto copy = [](const auto& from, Matrix& to, std::size_t i) {
        std::copy_n(from.data() + i * from.shape(1), from.shape(1), to.row(i));
    };
    for (std::size_t i = 0; i < k; ++i) {
        copy(outputs, o, i), block.output_rows[i] = o.row(i);
        for (std::size_t j = 0; j < m; ++j) p.row(j)[i] = positive(i, j), a.row(j)[i] = total(i, j);
    }
    for (std::size_t j = 0; j < m; ++j) {
        copy(inputs, c, j), block.input_rows[j] = c.row(j);
        block.positive[j] = p.row(j), block.total[j] = a.row(j);
    }
    double loss = 0;
    {
        nb::gil_scoped_release release;
        for (int i = 0; i < repeat; ++i) loss = kernels->step(block, o.stride(), rate, {score.data(), gradient.data()});
    }
    for (std::size_t i = 0; i < k; ++i) std::copy_n(o.row(i), dim, outputs.data() + i * outputs.shape(1));
    for (std::size_t j = 0; j < m; ++j) std::copy_n(c.row(j), dim, inputs.data() + j * inputs.shape(1));
    return loss;
}

}  // namespace

void bind_training(nb::module_& m) {
    nb::class_<Statistics>(m, "ChunkStatistics", "What a run of chunks passed: words, examples, and the sum of their loss.")
        .def_ro("words", &Statistics::words)
        .def_ro("examples", &Statistics::examples)
        .def_ro("loss_sum", &Statistics::loss);

    nb::class_<Trainer>(m, "Trainer", "Hogwild training of word vectors; vastmax.embeddings.EmbeddingTrainer is its front.")
        .def(
            "__init__",
            [](Trainer* self, Vector<std::uint32_t> ids, Vector<std::uint32_t> keep,
               std::optional<Vector<double>> noise, std::optional<Vector<std::int64_t>> offsets,
               std::optional<Vector<std::int32_t>> nodes, std::optional<Vector<std::int8_t>> signs, std::size_t outputs,
               int dim, int window, bool shrink_window, bool cbow, bool cbow_mean, bool cbow_divides,
               const std::string& sharing, int negatives, int drawn, int block, double learning_rate,
               double min_learning_rate, int epochs, std::uint64_t seed, std::size_t chunk,
               const std::optional<std::string>& level) {
                if (block < 1 || block > kMaxCentres || negatives + block > kMaxOutputs || drawn + block > kMaxOutputs)
                    throw std::invalid_argument("a block has no room for so many centres and negatives");
                if (window < 1 || 2 * window + block > kMaxInputs)
                    throw std::invalid_argument("a block has no room for so wide a window");
                Settings settings;
                settings.window = window, settings.shrink_window = shrink_window;
                settings.cbow = cbow, settings.cbow_mean = cbow_mean, settings.cbow_divides = cbow_divides;
                settings.sharing = sharing_named(sharing), settings.negatives = negatives, settings.drawn = drawn;
                settings.block = block, settings.learning_rate = learning_rate;
                settings.min_learning_rate = min_learning_rate, settings.epochs = epochs, settings.seed = seed;
                settings.chunk = chunk;
                Paths paths;
                if (offsets) {
                    if (block != 1) throw std::invalid_argument("hierarchical softmax takes blocks of one centre");
                    paths.offsets.assign(offsets->data(), offsets->data() + offsets->shape(0));
                    for (std::size_t i = 0; i < nodes.value().shape(0); ++i)
                        paths.steps.push_back(2 * static_cast<std::uint32_t>((*nodes)(i)) + (signs.value()(i) > 0));
                }
                AliasTable table;
                if (noise) table = AliasTable(noise->data(), noise->shape(0));
                new (self) Trainer({ids.data(), ids.shape(0), keep.data()}, std::move(paths), std::move(table), settings,
                                   keep.shape(0), outputs, dim, level ? kernels_named(*level, "simd_level") : best_kernels());
            },
            nb::kw_only(), "ids"_a.noconvert(), "keep"_a.noconvert(), "noise"_a.none(), "offsets"_a.none(), "nodes"_a.none(), "signs"_a.none(),
            "outputs"_a, "dim"_a, "window"_a, "shrink_window"_a, "cbow"_a, "cbow_mean"_a, "cbow_divides"_a, "sharing"_a,
            "negatives"_a, "drawn"_a, "block"_a, "learning_rate"_a, "min_learning_rate"_a, "epochs"_a, "seed"_a,
            "chunk"_a, "level"_a.none() = nb::none(), nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
        .def("run", &Trainer::run, "first"_a, "last"_a, "threads"_a, nb::call_guard<nb::gil_scoped_release>())
        .def("learning_rate", &Trainer::learning_rate, "position"_a)
        .def("discard_outputs", [](Trainer& trainer) { trainer.outputs.discard(); })
        .def_prop_ro("chunks_an_epoch", &Trainer::chunks_an_epoch)
        .def_prop_ro("level", [](const Trainer& trainer) { return std::string(trainer.kernels->name); })
        .def_prop_ro("vectors", [](nb::handle_t<Trainer> self) { return view(nb::cast<Trainer&>(self).vectors, self); })
        .def_prop_ro("outputs", [](nb::handle_t<Trainer> self) { return view(nb::cast<Trainer&>(self).outputs, self); });

    m.def("simd_levels", &simd_levels);
    m.def("kernel_step", &step, "level"_a, "outputs"_a, "inputs"_a, "positive"_a, "total"_a, "rate"_a, "repeat"_a = 1);
    m.def(
        "draw_noise",
        [](Vector<double> weights, std::uint64_t seed, std::uint64_t epoch, std::uint64_t chunk, std::size_t count) {
            const AliasTable table(weights.data(), weights.shape(0));
            Random random(seed, epoch, chunk);
            auto* drawn = new std::uint32_t[count];
            table.draw(random, drawn, count);
            nb::capsule owner(drawn, [](void* p) noexcept { delete[] static_cast<std::uint32_t*>(p); });
            return nb::ndarray<nb::numpy, std::uint32_t>(drawn, {count}, owner);
        },
        "weights"_a, "seed"_a, "epoch"_a, "chunk"_a, "count"_a);
}

}  // namespace vastmax
