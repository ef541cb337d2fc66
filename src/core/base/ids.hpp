// Words are 32-bit ids.
#pragma once

#include <cstdint>

namespace vastmax {

constexpr uint32_t kEndOfSentence = 0xFFFFFFFFu;  // behind each sentence in every encoded stream

}  // namespace vastmax
