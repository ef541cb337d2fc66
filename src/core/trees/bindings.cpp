#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace vastmax {
void bind_trees(nb::module_&) {}
}  // namespace vastmax
