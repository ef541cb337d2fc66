#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace vastmax {
void bind_text(nb::module_&) {}
}  // namespace vastmax
