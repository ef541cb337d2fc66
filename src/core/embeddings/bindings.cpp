#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

#include "embeddings/text_rows.hpp"

namespace nb = nanobind;

namespace vastmax {

namespace {

using Rows = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using WritableRows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

nb::bytes format_rows(const nb::list& words, const Rows& vectors) {
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
    const nb::bytes fault(parsed.fault.data(), parsed.fault.size());  // may quote bytes that are no text
    return nb::make_tuple(words, parsed.fault_line, fault);
}

}  // namespace

void bind_embeddings(nb::module_& m) {
    m.def("format_text_rows", &format_rows, nb::arg("words"), nb::arg("vectors"),
          "Lines 'word number number …' of words (n bytes objects) and vectors (n, d) float32, digits that round-trip.");
    m.def("parse_text_rows", &parse_text_rows, nb::arg("text"), nb::arg("rows"),
          "Fill rows (n, d) float32 from whole lines; return the words, the line at fault (or -1), and what is wrong.");
}

}  // namespace vastmax
