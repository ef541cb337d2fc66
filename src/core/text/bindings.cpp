#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/numpy.hpp"
#include "text/lexicon.hpp"
#include "text/ngrams.hpp"
#include "text/pairs.hpp"
#include "text/scanner.hpp"
#include "text/spool.hpp"
#include "text/text_rows.hpp"
#include "text/utf8.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

using Ids = ArrayView<uint32_t>;
using Flags = ArrayView<uint8_t>;
using Counts = ArrayView<int64_t>;

// The bytes of an object that supports the buffer protocol, held for the duration of a call.
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

Mode mode_of(bool exact) { return exact ? Mode::exact : Mode::whitespace; }

void bind_spool(nb::module_& m) {
    nb::class_<Spool>(m, "Spool", "Ids in text order, in a file that the caller has opened for reading and writing.")
        .def(nb::init<int>(), nb::arg("descriptor"))
        .def("__len__", &Spool::size)
        .def(
            "remap",
            [](Spool& spool, const Ids& table, size_t threads) {
                nb::gil_scoped_release release;
                const StreamSize size = spool.remap(table.data(), table.size(), threads);
                return std::make_pair(size.words, size.sentences);
            },
            nb::arg("table"), nb::arg("threads") = 1,
            "Replace every id by its entry in the table, in place; 0xFFFFFFFF drops it. Returns words and sentences "
            "left.");
}

void bind_scanner(nb::module_& m) {
    nb::class_<Scanner>(m, "Scanner",
                        "One pass over blocks of bytes that counts words and spools their provisional ids.")
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
    nb::class_<Lexicon>(m, "Lexicon",
                        "Words and counts of a corpus; lists of words are UTF-8 with U+001F between words.")
        .def("__len__", &Lexicon::size)
        .def("counts", [](const Lexicon& lexicon) { return to_numpy<int64_t>(lexicon.counts()); })
        .def(
            "ranked",
            [](const Lexicon& lexicon, uint64_t min_count, std::optional<size_t> max_size) {
                return to_numpy(lexicon.ranked(min_count, max_size.value_or(SIZE_MAX)));
            },
            nb::arg("min_count") = 1, nb::arg("max_size") = nb::none())
        .def("joined", [](const Lexicon& lexicon) { return to_bytes(lexicon.joined()); })
        .def(
            "joined",
            [](const Lexicon& lexicon, const Ids& ids) { return to_bytes(lexicon.joined(ids.data(), ids.size())); },
            nb::arg("ids"))
        .def(
            "find",
            [](const Lexicon& lexicon, const nb::bytes& words) {
                return to_numpy(lexicon.find({words.c_str(), words.size()}));
            },
            nb::arg("words"))
        .def(
            "intern",
            [](Lexicon& lexicon, const nb::bytes& words) {
                return to_numpy(lexicon.intern({words.c_str(), words.size()}));
            },
            nb::arg("words"), "Return the ids of the words; new words are added with count 0.")
        .def(
            "set_counts",
            [](Lexicon& lexicon, const Counts& counts) {
                lexicon.set_counts({counts.data(), counts.data() + counts.size()});
            },
            nb::arg("counts"))
        .def(
            "renamed",
            [](const Lexicon& lexicon, const nb::bytes& names) {
                std::vector<uint32_t> table;
                Lexicon renamed = lexicon.renamed({names.c_str(), names.size()}, table);
                return nb::make_tuple(std::move(renamed), to_numpy(std::move(table)));
            },
            nb::arg("names"));
}

template <typename Array>
auto to_vector(const Array& array) {
    return std::vector<std::remove_const_t<typename Array::Scalar>>(array.data(), array.data() + array.size());
}

void bind_pairs(nb::module_& m) {
    m.def(
        "count_pairs",
        [](const Spool& spool, const Counts& word_counts, const Flags& is_connector, uint64_t min_count,
           size_t threads) {
            if (word_counts.size() != is_connector.size())
                throw std::invalid_argument("counts and flags differ in length");
            Pairs pairs;
            {
                nb::gil_scoped_release release;
                pairs =
                    count_pairs(spool, word_counts.data(), is_connector.data(), word_counts.size(), min_count, threads);
            }
            return nb::make_tuple(to_numpy(std::move(pairs.first)), to_numpy(std::move(pairs.last)),
                                  to_numpy<int64_t>(pairs.offsets), to_numpy(std::move(pairs.between)),
                                  to_numpy<int64_t>(pairs.counts));
        },
        nb::arg("spool"), nb::arg("word_counts"), nb::arg("is_connector"), nb::arg("min_count"), nb::arg("threads") = 1,
        "Return the pairs that occur at least min_count times: first and last word, offsets into the words between, "
        "those words, counts.");
    m.def(
        "join_pairs",
        [](Spool& spool, const Ids& first, const Ids& last, const Counts& offsets, const Ids& between,
           const Ids& joined, const Flags& is_connector) {
            if (first.size() != joined.size() || last.size() != joined.size() || offsets.size() != joined.size() + 1)
                throw std::invalid_argument("the arrays of pairs differ in length");
            Pairs pairs;
            pairs.first = to_vector(first);
            pairs.last = to_vector(last);
            pairs.between = to_vector(between);
            pairs.offsets.assign(offsets.data(), offsets.data() + offsets.size());
            for (size_t i = 0; i + 1 < pairs.offsets.size(); ++i)
                if (pairs.offsets[i] > pairs.offsets[i + 1] || pairs.offsets[i + 1] > pairs.between.size())
                    throw std::invalid_argument("the offsets leave the words between");
            std::vector<uint64_t> counts;
            {
                nb::gil_scoped_release release;
                counts = join_pairs(spool, pairs, to_vector(joined), is_connector.data(), is_connector.size());
            }
            return to_numpy<int64_t>(counts);
        },
        nb::arg("spool"), nb::arg("first"), nb::arg("last"), nb::arg("offsets"), nb::arg("between"), nb::arg("joined"),
        nb::arg("is_connector"),
        "Join the listed pairs, left to right, in place; return the count of every id afterwards.");
}

void bind_bytes(nb::module_& m) {
    m.def(
        "last_cut",
        [](nb::handle block, size_t size, bool exact) {
            const Bytes bytes(block);
            return last_cut(bytes.data(), std::min(size, bytes.size()), mode_of(exact));
        },
        nb::arg("block"), nb::arg("size"), nb::arg("exact") = false,
        "Return the length of the first `size` bytes up to their last separator, inclusive; 0 if there is none.");
    m.def(
        "clean_utf8",
        [](nb::handle block) {
            const Bytes bytes(block);
            std::vector<char> out;
            out.reserve(bytes.size());
            const uint64_t replaced = replace_invalid_utf8(bytes.data(), bytes.size(), out);
            return nb::make_tuple(nb::bytes(out.data(), out.size()), replaced);
        },
        nb::arg("block"),
        "Return the bytes with every ill-formed part replaced by U+FFFD, and the number of replacements.");
}

using ReadableRows = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using WritableRows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

nb::bytes format_rows(const nb::list& words, const ReadableRows& vectors) {
    if (words.size() != vectors.shape(0)) throw std::invalid_argument("words and vectors differ in length");
    if (vectors.shape(1) > 1 && vectors.stride(1) != 1) throw std::invalid_argument("rows must be contiguous");
    std::string text;
    for (size_t i = 0; i < words.size(); ++i) {
        const auto word = nb::cast<nb::bytes>(words[i]);
        text.append(word.c_str(), word.size());
        append_row(text, vectors.data() + static_cast<int64_t>(i) * vectors.stride(0), vectors.shape(1));
    }
    return nb::bytes(text.data(), text.size());
}

nb::tuple parse_text_rows(const nb::bytes& text, const WritableRows& rows) {
    ParsedRows parsed;
    {
        const std::string_view view(text.c_str(), text.size());
        nb::gil_scoped_release release;
        parsed = parse_rows(view, rows.data(), rows.shape(1), rows.shape(0));
    }
    nb::list words;
    for (const std::string_view& word : parsed.words) words.append(nb::bytes(word.data(), word.size()));
    const nb::bytes fault(parsed.fault.data(), parsed.fault.size());  // may quote bytes that are not valid UTF-8
    return nb::make_tuple(words, parsed.end, fault);
}

void bind_rows(nb::module_& m) {
    m.def(
        "format_text_rows", &format_rows, nb::arg("words"), nb::arg("vectors"),
        "Return lines 'word number number …' for words (n bytes objects) and vectors (n, d) float32, with digits that "
        "round-trip.");
    m.def("parse_text_rows", &parse_text_rows, nb::arg("text"), nb::arg("rows"),
          "Fill rows (n, d) float32 from whole lines; return the words, the offset of the first line not read, and "
          "its fault: empty if the rows are full or the text has ended.");
}

std::tuple<Array<int64_t>, Array<uint32_t>> ngram_buckets(const std::vector<std::string>& words, int shortest,
                                                          int longest, uint32_t buckets, int hashes, bool floret) {
    const NgramRule rule{shortest, longest, buckets, hashes, floret};
    std::vector<int64_t> offsets{0};
    std::vector<uint32_t> found;
    {
        nb::gil_scoped_release release;
        offsets.reserve(words.size() + 1);
        for (const std::string& word : words) {
            append_buckets(word, rule, found);
            offsets.push_back(static_cast<int64_t>(found.size()));
        }
    }
    return {to_numpy(std::move(offsets)), to_numpy(std::move(found))};
}

void bind_ngrams(nb::module_& m) {
    m.def("ngram_buckets", &ngram_buckets, nb::arg("words"), nb::arg("shortest"), nb::arg("longest"),
          nb::arg("buckets"), nb::arg("hashes"), nb::arg("floret"),
          "Return the buckets of the character n-grams of n words, word after word, and the offsets (n + 1,) of the "
          "words.");
}

}  // namespace

void bind_text(nb::module_& m) {
    nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
        try {
            std::rethrow_exception(pointer);
        } catch (const std::system_error& error) {
            // OSError selects its subclass by errno, as everywhere in Python.
            nb::object arguments = nb::make_tuple(error.code().value(), error.code().message());
            PyErr_SetObject(PyExc_OSError, arguments.ptr());
        }
    });
    bind_spool(m);
    bind_scanner(m);
    bind_lexicon(m);
    bind_pairs(m);
    bind_bytes(m);
    bind_rows(m);
    bind_ngrams(m);
}

}  // namespace vastmax
