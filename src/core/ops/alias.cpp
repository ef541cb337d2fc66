// Tables of the alias method, built in one sweep over the classes that needs no memory beyond the requested slots.
#include <algorithm>

#include "ops/arrays.hpp"

namespace nb = nanobind;

namespace vastmax {
namespace {

// A heavy class has at least the mass of a slot. Heavy classes, in order, fill the slots of light ones, in order. A
// heavy class that has given away its surplus and part of its own slot is filled by the next heavy one.
class Sweep {
public:
    Sweep(const int64_t* mass, int64_t classes, int64_t slots, int64_t slot, int64_t first,
          std::vector<int64_t>& entries)
        : mass_(mass), classes_(classes), slots_(slots), slot_(slot), first_(first), entries_(entries) {}

    void run() {
        for (size_t i = 0; i < entries_.size(); ++i) write(first_ + static_cast<int64_t>(i), slot_, first_ + i);
        int64_t heavy = next_heavy(0);
        int64_t spare = of(heavy) - slot_;  // surplus of the heavy classes up to this one
        int64_t lacked = 0;                 // deficit of the light classes before this one
        for (int64_t light = 0; light < slots_; ++light) {
            const int64_t lack = slot_ - of(light);
            if (lack <= 0) continue;
            while (spare <= lacked) {
                heavy = next_heavy(heavy + 1);
                spare += of(heavy) - slot_;
            }
            write(light, of(light), heavy);
            for (int64_t next = 0; spare < lacked + lack; heavy = next, spare += of(heavy) - slot_) {
                next = next_heavy(heavy + 1);
                if (next == slots_) break;
                write(heavy, slot_ - (lacked + lack - spare), next);
            }
            lacked += lack;
        }
    }

private:
    int64_t of(int64_t slot) const { return slot < classes_ ? mass_[slot] : 0; }

    int64_t next_heavy(int64_t from) const {
        while (from < classes_ && mass_[from] < slot_) ++from;
        return from < classes_ ? from : slots_;
    }

    // An entry is the threshold above the bits of the alias, and a draw takes the smaller of entry and chance. At the
    // threshold itself the smaller class wins, which is one level too many if the alias is larger, so the threshold is
    // then lowered by one. A threshold of 0 may become -1, below every draw.
    void write(int64_t slot, int64_t threshold, int64_t alias) {
        const int64_t place = slot - first_;
        if (place >= 0 && place < static_cast<int64_t>(entries_.size()))
            entries_[place] = (threshold - (slot < alias)) * slots_ + alias;
    }

    const int64_t* mass_;
    const int64_t classes_, slots_, slot_, first_;
    std::vector<int64_t>& entries_;
};

}  // namespace

void bind_alias(nb::module_& m) {
    m.def(
        "alias_entries",
        [](const ArrayView<int64_t>& mass, int64_t slots, int64_t total, int64_t first, int64_t stop) {
            check(slots >= static_cast<int64_t>(mass.size()) && slots > 0 && total % slots == 0,
                  "a slot is too little");
            check(0 <= first && first <= stop && stop <= slots, "there are no such slots");
            std::vector<int64_t> entries(stop - first);
            {
                nb::gil_scoped_release release;
                int64_t sum = 0;
                for (size_t i = 0; i < mass.size(); ++i) {
                    const int64_t each = mass.data()[i];
                    check(each >= 0 && each <= total - sum, "masses must add up to the total");
                    sum += each;
                }
                check(sum == total, "masses must add up to the total");
                Sweep(mass.data(), mass.size(), slots, total / slots, first, entries).run();
            }
            return to_numpy(std::move(entries));
        },
        nb::arg("mass"), nb::arg("slots"), nb::arg("total"), nb::arg("first"), nb::arg("stop"),
        "Entries (stop - first,) int64 of an alias table's slots for masses (V,) int64: each is the threshold of the "
        "slot times the number of slots, plus its alias. ValueError if the masses do not sum to the total.");
}

}  // namespace vastmax
