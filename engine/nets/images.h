// What the functions of norm_pool.cpp share: how numbers are stored and summed, and loops over an image.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct bfloat16 { uint16_t bits; };

// Sums are kept in `Wide<T>`: float where images are stored in bfloat16, whose 8 bits would lose a sum of 1,024 pixels.
template <class T> struct WideOf { using type = T; };
template <> struct WideOf<bfloat16> { using type = float; };
template <class T> using Wide = typename WideOf<T>::type;

inline float wide(float value) { return value; }
inline double wide(double value) { return value; }
inline float wide(bfloat16 value) {
    const uint32_t bits = uint32_t(value.bits) << 16;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

inline void store(float& place, float value) { place = value; }
inline void store(double& place, double value) { place = value; }
inline void store(bfloat16& place, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    // Rounds to nearest, ties to even, as PyTorch does; a NaN stays a NaN.
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    place.bits = value == value ? uint16_t(rounded) : uint16_t(0x7fc0);
}

struct Shape {
    int64_t batch, side, channels, threads;
    int64_t half() const { return side / 2; }
    int64_t image() const { return side * side * channels; }
    int64_t cells() const { return half() * half() * channels; }
};

// Whether the ReLU is open. std::fma fixes the rounding: left to the compiler, two functions could contract the product
// and the sum differently, and take different pixels for open.
template <class A> inline bool positive(A slope, A u, A shift) { return std::fma(slope, u, shift) > A(0); }

// Calls body(row, column, offset of its cell, its four pixels' offsets) for every cell of an image.
template <class Body> inline void each_cell(const Shape& s, Body body) {
    const int64_t row = s.side * s.channels;
    for (int64_t i = 0; i < s.half(); ++i)
        for (int64_t j = 0; j < s.half(); ++j) {
            const int64_t first = 2 * i * row + 2 * j * s.channels;
            const int64_t pixels[4] = {first, first + s.channels, first + row, first + row + s.channels};
            body((i * s.half() + j) * s.channels, pixels);
        }
}

// Calls body(offset of the pixel) for the last row and column of an odd side, which belong to no cell.
template <class Body> inline void each_pixel_outside(const Shape& s, Body body) {
    if (s.side % 2 == 0) return;
    const int64_t last = s.side - 1;
    for (int64_t i = 0; i < s.side; ++i) body((i * s.side + last) * s.channels);
    for (int64_t j = 0; j < last; ++j) body((last * s.side + j) * s.channels);
}

// Sums over all pixels of an image: calls add(offset of the pixel, sums of its row) and adds up the rows. Two levels
// lose fewer digits than one long sum. `sums` has `count` blocks of one number a channel.
template <class A, class Add> inline void sum_over_pixels(const Shape& s, int64_t count, A* __restrict sums, Add add) {
    const int64_t n = count * s.channels;
    std::vector<A> row(n);
    A* __restrict r = row.data();
    for (int64_t k = 0; k < n; ++k) sums[k] = 0;
    for (int64_t i = 0; i < s.side; ++i) {
        for (int64_t k = 0; k < n; ++k) r[k] = 0;
        for (int64_t j = 0; j < s.side; ++j) add((i * s.side + j) * s.channels, r);
        for (int64_t k = 0; k < n; ++k) sums[k] += r[k];
    }
}

}  // namespace
