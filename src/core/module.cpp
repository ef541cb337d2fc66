// The compiled core, which takes and returns arrays. Each folder binds its own part.
#include <nanobind/nanobind.h>

#include "base/ids.hpp"
#include "base/input_error.hpp"

namespace nb = nanobind;

namespace vastmax {
void bind_text(nb::module_& m);
void bind_trees(nb::module_& m);
void bind_training(nb::module_& m);
void bind_ops(nb::module_& m);
void bind_search(nb::module_& m);
}  // namespace vastmax

NB_MODULE(_core, m) {
    m.doc() =
        "Compiled core of vastmax: counting, encoding, trees, text vectors, the Hogwild kernels, ops and searches.";
    nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
        try {
            std::rethrow_exception(pointer);
        } catch (const vastmax::InputError& error) {
            PyErr_SetString(nb::module_::import_("vastmax.errors").attr("InputError").ptr(), error.what());
        }
    });
    m.attr("END_OF_SENTENCE") = vastmax::kEndOfSentence;
    vastmax::bind_text(m);
    vastmax::bind_trees(m);
    vastmax::bind_training(m);
    vastmax::bind_ops(m);
    vastmax::bind_search(m);
}
