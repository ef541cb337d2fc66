// Word ids: 32 bits.
#pragma once

#include <cstdint>

namespace vastmax {

constexpr uint32_t kEndOfSentence = 0xFFFFFFFFu;  // follows each sentence in every encoded stream

}  // namespace vastmax
