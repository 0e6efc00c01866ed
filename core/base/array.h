// A growing array over an Arena for plain data: no destructor, so that PostgreSQL's longjmp may skip it.
#pragma once

#include <cstring>
#include <type_traits>

#include "base/arena.h"

namespace cairn::core {

template <class T>
class Array {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  void attach(Arena* arena) { arena_ = arena; }

  void push(const T& value) {
    if (size_ == capacity_) reserve(capacity_ == 0 ? 64 : capacity_ * 2);
    data_[size_++] = value;
  }

  void reserve(size_t capacity) {
    if (capacity <= capacity_) return;
    T* data = static_cast<T*>(arena_->allocate(capacity * sizeof(T)));
    if (size_ > 0) std::memcpy(data, data_, size_ * sizeof(T));
    data_ = data;
    capacity_ = capacity;
  }

  void pop() { --size_; }
  void clear() { size_ = 0; }
  void truncate(size_t size) { size_ = size; }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }

 private:
  Arena* arena_ = nullptr;
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace cairn::core
