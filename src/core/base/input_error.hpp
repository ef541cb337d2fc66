// An invalid value given by the user; Python sees it as vastmax.errors.InputError.
#pragma once

#include <stdexcept>

namespace vastmax {

struct InputError : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

}  // namespace vastmax
