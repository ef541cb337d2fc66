// Marks functions with intentional data races, which ThreadSanitizer then ignores; it reports all others. trainer.hpp
// describes these races.
#pragma once

#define VASTMAX_RACES __attribute__((no_sanitize("thread")))
