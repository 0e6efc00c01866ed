// A set of places in an index's pages (block and line pointer): a few bits a page.
#pragma once

#include <bit>

#include "base/array.h"
#include "graph/page.h"

namespace cairn::core {

// The least that a page of a layout's nodes takes for one of them.
inline uint32_t places_of_page(const NodeLayout& layout, uint32_t least_payload_bytes) {
  return kPageSpace / (layout.node_bytes(least_payload_bytes) + kLinePointerBytes);
}

class PlaceSet {
 public:
  static constexpr uint32_t kMaxPlaces = 64;  // of a page

  // Blocks 0 to `blocks` - 1, line pointers 1 to `places`.
  void init(uint32_t blocks, uint32_t places, Arena* arena) {
    blocks_ = blocks;
    width_ = std::bit_ceil(places);
    word_count_ = bytes(blocks, places) / sizeof(uint64_t);
    words_ = static_cast<uint64_t*>(arena->allocate(word_count_ * sizeof(uint64_t)));
    std::memset(words_, 0, word_count_ * sizeof(uint64_t));
  }

  static size_t bytes(uint32_t blocks, uint32_t places) {
    return (static_cast<size_t>(blocks) * std::bit_ceil(places) / 64 + 1) * sizeof(uint64_t);
  }

  // False if it was there, or there is no such place.
  bool insert(NodeId id) {
    if (!has_place(id) || contains(id)) return false;
    words_[bit(id) / 64] |= uint64_t{1} << bit(id) % 64;
    return true;
  }

  bool contains(NodeId id) const { return has_place(id) && (words_[bit(id) / 64] >> bit(id) % 64 & 1) != 0; }

  void erase(NodeId id) {
    if (has_place(id)) words_[bit(id) / 64] &= ~(uint64_t{1} << bit(id) % 64);
  }

  void erase_all(const PlaceSet& others) {
    for (size_t i = 0; i < word_count_; ++i) words_[i] &= ~others.words_[i];
  }

  // The first block from `block` on that has a place in the set; the number of blocks if none has.
  uint32_t next_block(uint32_t block) const {
    size_t at = static_cast<size_t>(block) * width_;
    if (block >= blocks_) return blocks_;
    uint64_t word = words_[at / 64] & (~uint64_t{0} << at % 64);
    for (size_t i = at / 64; word == 0;) {
      if (++i == word_count_) return blocks_;
      word = words_[i];
      at = i * 64;
    }
    return static_cast<uint32_t>((at / 64 * 64 + static_cast<size_t>(std::countr_zero(word))) / width_);
  }

  // The places of a block, the first in the lowest bit.
  uint64_t of_block(uint32_t block) const {
    const size_t at = static_cast<size_t>(block) * width_;
    return words_[at / 64] >> at % 64 & mask();
  }

  void erase_block(uint32_t block) {
    const size_t at = static_cast<size_t>(block) * width_;
    words_[at / 64] &= ~(mask() << at % 64);
  }

 private:
  uint64_t mask() const { return width_ == 64 ? ~uint64_t{0} : (uint64_t{1} << width_) - 1; }
  bool has_place(NodeId id) const {
    return node_block(id) < blocks_ && node_offset(id) > 0 && node_offset(id) <= width_;
  }
  size_t bit(NodeId id) const { return static_cast<size_t>(node_block(id)) * width_ + node_offset(id) - 1; }

  uint64_t* words_ = nullptr;
  size_t word_count_ = 0;
  uint32_t blocks_ = 0;
  uint32_t width_ = 0;  // bits a page: a power of two, so that no page's lie in two words
};

}  // namespace cairn::core
