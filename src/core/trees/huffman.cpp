#include <algorithm>
#include <numeric>

#include "trees/tree.hpp"

namespace vastmax {
namespace {

// Words by ascending count, the higher id first among equal counts. This is the reverse of descending order, so that a
// vocabulary already in descending order is not sorted.
std::vector<int32_t> words_by_rising_count(const int64_t* counts, int64_t num_words) {
    std::vector<int32_t> words(num_words);
    for (int64_t i = 0; i < num_words; ++i) words[i] = static_cast<int32_t>(num_words - 1 - i);
    if (!std::is_sorted(counts, counts + num_words, [](int64_t a, int64_t b) { return a > b; }))
        std::stable_sort(words.begin(), words.end(), [counts](int32_t a, int32_t b) { return counts[a] < counts[b]; });
    return words;
}

}  // namespace

// The two-queue algorithm of van Leeuwen (1976): sums of joined pairs never decrease, so the inner nodes form a second
// sorted queue, and the work after sorting is linear. On a tie the leaf goes first, which gives the optimal tree of
// least depth and prevents one long chain of words with count zero.
Children huffman_children(const int64_t* counts, int64_t num_words) {
    const std::vector<int32_t> words = words_by_rising_count(counts, num_words);
    const int64_t num_inner = num_words - 1;
    Children children;
    children.left.resize(num_inner);
    children.right.resize(num_inner);
    children.root = static_cast<int32_t>(num_inner - 1);
    std::vector<int64_t> weight(num_inner);
    int64_t next_leaf = 0;
    int64_t next_inner = 0;
    for (int64_t made = 0; made < num_inner; ++made) {
        int32_t pair[2];
        int64_t sum = 0;
        for (int32_t& child : pair) {
            const bool leaf =
                next_inner == made || (next_leaf < num_words && counts[words[next_leaf]] <= weight[next_inner]);
            sum += leaf ? counts[words[next_leaf]] : weight[next_inner];
            child = leaf ? ~words[next_leaf++] : static_cast<int32_t>(next_inner++);
        }
        children.right[made] = pair[0];  // the lighter: code 0 in word2vec
        children.left[made] = pair[1];
        weight[made] = sum;
    }
    return children;
}

}  // namespace vastmax
