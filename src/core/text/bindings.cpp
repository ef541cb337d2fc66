#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <system_error>

#include "text/lexicon.hpp"
#include "text/scanner.hpp"
#include "text/spool.hpp"
#include "text/utf8.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

using namespace text;

using Ids = nb::ndarray<const uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The bytes of any object with a buffer, held for the length of a call.
class Bytes {
public:
    explicit Bytes(nb::handle source) {
        if (PyObject_GetBuffer(source.ptr(), &view_, PyBUF_SIMPLE) != 0) throw nb::python_error();
    }
    ~Bytes() { PyBuffer_Release(&view_); }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;
    const char* data() const { return static_cast<const char*>(view_.buf); }
    size_t size() const { return static_cast<size_t>(view_.len); }
    std::string_view text() const { return {data(), size()}; }

private:
    Py_buffer view_;
};

nb::bytes to_bytes(const std::string& text) { return nb::bytes(text.data(), text.size()); }

template <typename T, typename From>
nb::ndarray<nb::numpy, T, nb::ndim<1>> to_array(const std::vector<From>& values) {
    T* data = new T[values.size()];
    std::copy(values.begin(), values.end(), data);
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::ndarray<nb::numpy, T, nb::ndim<1>>(data, {values.size()}, owner);
}

Mode mode_of(bool exact) { return exact ? Mode::exact : Mode::whitespace; }

void bind_spool(nb::module_& m) {
    nb::class_<Spool>(m, "Spool", "Ids in the order of the text, in a file that the caller has opened for reading and writing.")
        .def(nb::init<int>(), nb::arg("descriptor"))
        .def("__len__", &Spool::size)
        .def(
            "remap",
            [](Spool& spool, Ids table, size_t threads) {
                nb::gil_scoped_release release;
                const StreamSize size = spool.remap(table.data(), table.size(), threads);
                return std::make_pair(size.words, size.sentences);
            },
            nb::arg("table"), nb::arg("threads") = 1,
            "Replace every id by its entry in the table, in place; 0xFFFFFFFF drops it. Returns words and sentences left.");
}

void bind_scanner(nb::module_& m) {
    nb::class_<Scanner>(m, "Scanner", "One pass over blocks of bytes: words counted, their provisional ids spooled.")
        .def(
            "__init__",
            [](Scanner* self, std::shared_ptr<Spool> spool, bool exact, size_t threads) {
                new (self) Scanner(std::move(spool), mode_of(exact), threads);
            },
            nb::arg("spool").none(), nb::arg("exact") = false, nb::arg("threads") = 1)
        .def(
            "feed",
            [](Scanner& scanner, nb::handle block) {
                const Bytes bytes(block);
                nb::gil_scoped_release release;
                scanner.feed(bytes.data(), bytes.size());
            },
            nb::arg("block"))
        .def(
            "finish",
            [](Scanner& scanner) {
                nb::gil_scoped_release release;
                return new Lexicon(scanner.finish());
            },
            nb::rv_policy::take_ownership)
        .def_prop_ro("words", &Scanner::words)
        .def_prop_ro("invalid_utf8", &Scanner::invalid_utf8);
}

void bind_lexicon(nb::module_& m) {
    nb::class_<Lexicon>(m, "Lexicon", "Words and counts of a corpus; lists of words are UTF-8 with U+001F between words.")
        .def("__len__", &Lexicon::size)
        .def("counts", [](const Lexicon& lexicon) { return to_array<int64_t>(lexicon.counts()); })
        .def(
            "ranked",
            [](const Lexicon& lexicon, uint64_t min_count, std::optional<size_t> max_size) {
                return to_array<uint32_t>(lexicon.ranked(min_count, max_size.value_or(SIZE_MAX)));
            },
            nb::arg("min_count") = 1, nb::arg("max_size") = nb::none())
        .def("joined", [](const Lexicon& lexicon) { return to_bytes(lexicon.joined()); })
        .def("joined", [](const Lexicon& lexicon, Ids ids) { return to_bytes(lexicon.joined(ids.data(), ids.size())); }, nb::arg("ids"))
        .def("find", [](const Lexicon& lexicon, nb::bytes words) { return to_array<uint32_t>(lexicon.find({words.c_str(), words.size()})); },
             nb::arg("words"))
        .def(
            "renamed",
            [](const Lexicon& lexicon, nb::bytes names) {
                std::vector<uint32_t> table;
                Lexicon renamed = lexicon.renamed({names.c_str(), names.size()}, table);
                return nb::make_tuple(std::move(renamed), to_array<uint32_t>(table));
            },
            nb::arg("names"));
}

void bind_bytes(nb::module_& m) {
    m.def(
        "last_cut",
        [](nb::handle block, size_t size, bool exact) {
            const Bytes bytes(block);
            return last_cut(bytes.data(), std::min(size, bytes.size()), mode_of(exact));
        },
        nb::arg("block"), nb::arg("size"), nb::arg("exact") = false,
        "Length of the part of the first `size` bytes that ends with their last separator; 0 where there is none.");
    m.def(
        "clean_utf8",
        [](nb::handle block) {
            const Bytes bytes(block);
            std::vector<char> out;
            out.reserve(bytes.size());
            const uint64_t replaced = replace_invalid_utf8(bytes.data(), bytes.size(), out);
            return nb::make_tuple(nb::bytes(out.data(), out.size()), replaced);
        },
        nb::arg("block"), "The bytes with every ill-formed part replaced by U+FFFD, and the number of replacements.");
}

}  // namespace

void bind_text(nb::module_& m) {
    nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
        try {
            std::rethrow_exception(pointer);
        } catch (const std::system_error& error) {
            // OSError picks its subclass by the number, as everywhere in Python.
            nb::object arguments = nb::make_tuple(error.code().value(), error.what());
            PyErr_SetObject(PyExc_OSError, arguments.ptr());
        }
    });
    bind_spool(m);
    bind_scanner(m);
    bind_lexicon(m);
    bind_bytes(m);
}

}  // namespace vastmax
