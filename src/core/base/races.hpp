// Marks what may touch memory that other threads write at the same moment: ThreadSanitizer leaves it alone and reports
// every other race. trainer.hpp says which races are meant.
#pragma once

#define VASTMAX_RACES __attribute__((no_sanitize("thread")))
