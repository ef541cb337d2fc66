#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace vastmax {
void bind_training(nb::module_&) {}
}  // namespace vastmax
