// Instance norm, ReLU and 2x2 mean pooling of one ConvNet block, and its three derivatives: the formulas and the names
// of norm_pool.py, one pass over an image where it still lies in the processor's cache. Images are (batch, side, side,
// channels), cells (batch, side / 2, side / 2, channels); what is kept of an image as a whole is (batch, channels).
#include "images.h"

namespace {

template <class T, class A = Wide<T>>
void forward(const Shape& s, A epsilon, const T* __restrict z, const A* __restrict scale, const A* __restrict shift,
             A* __restrict mean, A* __restrict rate, A* __restrict on, A* __restrict mass, T* __restrict pooled) {
    const int64_t pixels = s.side * s.side, n = s.channels;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.batch; ++b) {
        const T* zb = z + b * s.image();
        A* __restrict m = mean + b * n;
        A* __restrict r = rate + b * n;
        std::vector<A> slope(n);
        sum_over_pixels(s, 1, m, [=](int64_t at, A* __restrict sum) {
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) sum[c] += wide(zb[at + c]);
        });
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) m[c] /= A(pixels);
        sum_over_pixels(s, 1, r, [=](int64_t at, A* __restrict sum) {
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                const A u = wide(zb[at + c]) - m[c];
                sum[c] += u * u;
            }
        });
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            r[c] = A(1) / std::sqrt(r[c] / A(pixels) + epsilon);
            slope[c] = scale[c] * r[c];
        }
        const A* __restrict k = slope.data();
        each_cell(s, [=](int64_t cell, const int64_t (&at)[4]) {
            A* __restrict onb = on + b * s.cells() + cell;
            A* __restrict massb = mass + b * s.cells() + cell;
            T* __restrict out = pooled + b * s.cells() + cell;
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                A count = 0, sum = 0;
#pragma GCC unroll 4
                for (int q = 0; q < 4; ++q) {
                    const A u = wide(zb[at[q] + c]) - m[c];
                    const bool o = positive(k[c], u, shift[c]);
                    count += o ? A(1) : A(0);
                    sum += o ? u : A(0);
                }
                onb[c] = count;
                massb[c] = sum;
                store(out[c], A(0.25) * (k[c] * sum + shift[c] * count));
            }
        });
    }
}

template <class T, class A = Wide<T>>
void reverse(const Shape& s, const T* __restrict z, const A* __restrict mean, const A* __restrict rate,
             const A* __restrict on, const A* __restrict mass, const A* __restrict scale, const A* __restrict shift,
             const T* __restrict in_pooled, T* __restrict in_z, A* __restrict in_scale, A* __restrict in_shift) {
    const A share = A(1) / A(s.side * s.side);
    const int64_t n = s.channels;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.batch; ++b) {
        const T* zb = z + b * s.image();
        T* out = in_z + b * s.image();
        const A* __restrict m = mean + b * n;
        const A* __restrict r = rate + b * n;
        std::vector<A> of_on(n, A(0)), of_mass(n, A(0));
        A* __restrict m1 = of_on.data();
        A* __restrict m2 = of_mass.data();
        each_cell(s, [=](int64_t cell, const int64_t (&)[4]) {
            const int64_t offset = b * s.cells() + cell;
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                const A g = A(0.25) * wide(in_pooled[offset + c]);
                m1[c] += g * on[offset + c];
                m2[c] += g * mass[offset + c];
            }
        });
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            in_shift[b * n + c] = m1[c];
            in_scale[b * n + c] = r[c] * m2[c];
            m1[c] *= share;
            m2[c] *= share * r[c] * r[c];
        }
        // `part` of the cell's g reaches the pixel: a quarter, or nothing outside of the cells.
        const auto write = [=](int64_t at, const T* __restrict g, A part) {
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                const A u = wide(zb[at + c]) - m[c];
                const A behind = positive(scale[c] * r[c], u, shift[c]) ? part * wide(g[c]) : A(0);
                store(out[at + c], scale[c] * r[c] * (behind - m1[c] - u * m2[c]));
            }
        };
        const T* gb = in_pooled + b * s.cells();
        each_cell(s, [=](int64_t cell, const int64_t (&at)[4]) {
            for (int q = 0; q < 4; ++q) write(at[q], gb + cell, A(0.25));
        });
        each_pixel_outside(s, [=](int64_t at) { write(at, gb, A(0)); });
    }
}

template <class T, class A = Wide<T>>
void tangent(const Shape& s, const T* __restrict z, const A* __restrict mean, const A* __restrict rate,
             const A* __restrict on, const A* __restrict mass, const A* __restrict scale, const A* __restrict shift,
             const A* __restrict d_scale, const A* __restrict d_shift, const T* __restrict d_z, A* __restrict d_mean,
             A* __restrict lean, A* __restrict d_mass, T* __restrict d_pooled) {
    const A share = A(1) / A(s.side * s.side);
    const int64_t n = s.channels;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.batch; ++b) {
        const T* zb = z + b * s.image();
        const T* dzb = d_z + b * s.image();
        const A* __restrict m = mean + b * n;
        const A* __restrict r = rate + b * n;
        A* __restrict c1 = d_mean + b * n;
        A* __restrict c2 = lean + b * n;
        std::vector<A> sums(2 * n);
        sum_over_pixels(s, 2, sums.data(), [=](int64_t at, A* __restrict sum) {
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                const A d = wide(dzb[at + c]);
                sum[c] += d;
                sum[n + c] += (wide(zb[at + c]) - m[c]) * d;
            }
        });
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            c1[c] = share * sums[c];
            c2[c] = share * r[c] * r[c] * sums[n + c];
        }
        each_cell(s, [=](int64_t cell, const int64_t (&at)[4]) {
            const int64_t offset = b * s.cells() + cell;
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                A sum = 0;
#pragma GCC unroll 4
                for (int q = 0; q < 4; ++q) {
                    const A u = wide(zb[at[q] + c]) - m[c];
                    const A w = wide(dzb[at[q] + c]) - c1[c] - u * c2[c];
                    sum += positive(scale[c] * r[c], u, shift[c]) ? w : A(0);
                }
                d_mass[offset + c] = sum;
                const A moved = r[c] * (scale[c] * sum + d_scale[c] * mass[offset + c]);
                store(d_pooled[offset + c], A(0.25) * (moved + d_shift[c] * on[offset + c]));
            }
        });
    }
}

// Sums over an image of g o, g o u, d o, and g o w + d o u, added to g1, g2, d1, d2.
template <class T, class A = Wide<T>>
inline void sum_along(const Shape& s, int64_t b, const A* __restrict on, const A* __restrict mass,
                      const A* __restrict d_mass, const T* __restrict in_pooled, const T* __restrict d_in_pooled,
                      A* __restrict g1, A* __restrict g2, A* __restrict d1, A* __restrict d2) {
    const int64_t n = s.channels;
    each_cell(s, [=](int64_t cell, const int64_t (&)[4]) {
        const int64_t offset = b * s.cells() + cell;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            const A g = A(0.25) * wide(in_pooled[offset + c]), d = A(0.25) * wide(d_in_pooled[offset + c]);
            g1[c] += g * on[offset + c];
            g2[c] += g * mass[offset + c];
            d1[c] += d * on[offset + c];
            d2[c] += g * d_mass[offset + c] + d * mass[offset + c];
        }
    });
}

template <class T, class A = Wide<T>>
void tangent_reverse(const Shape& s, const T* __restrict z, const A* __restrict mean, const A* __restrict rate,
                     const A* __restrict on, const A* __restrict mass, const A* __restrict scale,
                     const A* __restrict shift, const A* __restrict d_scale, const T* __restrict d_z,
                     const A* __restrict d_mean, const A* __restrict lean, const A* __restrict d_mass,
                     const T* __restrict in_pooled, const T* __restrict d_in_pooled, T* __restrict in_z,
                     T* __restrict d_in_z, A* __restrict d_in_scale, A* __restrict d_in_shift) {
    const A share = A(1) / A(s.side * s.side);
    const int64_t n = s.channels;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.batch; ++b) {
        const T* zb = z + b * s.image();
        const T* dzb = d_z + b * s.image();
        T* out = in_z + b * s.image();
        T* d_out = d_in_z + b * s.image();
        const A* __restrict m = mean + b * n;
        const A* __restrict r = rate + b * n;
        const A* __restrict c1 = d_mean + b * n;
        const A* __restrict c2 = lean + b * n;
        std::vector<A> sums(4 * n, A(0));
        A* __restrict g1 = sums.data();
        A* __restrict g2 = g1 + n;
        A* __restrict d1 = g2 + n;
        A* __restrict d2 = d1 + n;
        sum_along(s, b, on, mass, d_mass, in_pooled, d_in_pooled, g1, g2, d1, d2);
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            d_in_shift[b * n + c] = d1[c];
            d_in_scale[b * n + c] = r[c] * d2[c];
            const A own = share * scale[c], moved = share * d_scale[c], square = r[c] * r[c];
            d1[c] = own * d1[c] + moved * g1[c];
            d2[c] = square * (own * d2[c] + moved * g2[c]);
            g1[c] *= own;
            g2[c] *= own * square;
        }
        const auto write = [=](int64_t at, const T* __restrict gs, const T* __restrict ds, A part) {
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                const A g = part * wide(gs[c]), d = part * wide(ds[c]);
                const A u = wide(zb[at + c]) - m[c];
                const A w = wide(dzb[at + c]) - c1[c] - u * c2[c];
                const bool o = positive(scale[c] * r[c], u, shift[c]);
                const A along = (o ? scale[c] * g : A(0)) - g1[c] - u * g2[c];
                const A d_along = (o ? scale[c] * d + d_scale[c] * g : A(0)) - d1[c] - w * g2[c] - u * d2[c];
                store(out[at + c], r[c] * along);
                store(d_out[at + c], r[c] * (d_along - c2[c] * along));
            }
        };
        const T* gb = in_pooled + b * s.cells();
        const T* db = d_in_pooled + b * s.cells();
        each_cell(s, [=](int64_t cell, const int64_t (&at)[4]) {
            for (int q = 0; q < 4; ++q) write(at[q], gb + cell, db + cell, A(0.25));
        });
        each_pixel_outside(s, [=](int64_t at) { write(at, gb, db, A(0)); });
    }
}

}  // namespace

// shape: batch, side, channels, threads; tensors in the order of the functions above.
#define EXPORT(T, suffix)                                                                                           \
    extern "C" void forward_##suffix(const Shape* s, double epsilon, void** t) {                                    \
        using A = Wide<T>;                                                                                          \
        forward<T>(*s, A(epsilon), (T*)t[0], (A*)t[1], (A*)t[2], (A*)t[3], (A*)t[4], (A*)t[5], (A*)t[6], (T*)t[7]); \
    }                                                                                                               \
    extern "C" void reverse_##suffix(const Shape* s, double, void** t) {                                            \
        using A = Wide<T>;                                                                                          \
        reverse<T>(*s, (T*)t[0], (A*)t[1], (A*)t[2], (A*)t[3], (A*)t[4], (A*)t[5], (A*)t[6], (T*)t[7], (T*)t[8],    \
                   (A*)t[9], (A*)t[10]);                                                                            \
    }                                                                                                               \
    extern "C" void tangent_##suffix(const Shape* s, double, void** t) {                                            \
        using A = Wide<T>;                                                                                          \
        tangent<T>(*s, (T*)t[0], (A*)t[1], (A*)t[2], (A*)t[3], (A*)t[4], (A*)t[5], (A*)t[6], (A*)t[7], (A*)t[8],    \
                   (T*)t[9], (A*)t[10], (A*)t[11], (A*)t[12], (T*)t[13]);                                           \
    }                                                                                                               \
    extern "C" void tangent_reverse_##suffix(const Shape* s, double, void** t) {                                    \
        using A = Wide<T>;                                                                                          \
        tangent_reverse<T>(*s, (T*)t[0], (A*)t[1], (A*)t[2], (A*)t[3], (A*)t[4], (A*)t[5], (A*)t[6], (A*)t[7],      \
                           (T*)t[8], (A*)t[9], (A*)t[10], (A*)t[11], (T*)t[12], (T*)t[13], (T*)t[14], (T*)t[15],    \
                           (A*)t[16], (A*)t[17]);                                                                   \
    }

EXPORT(float, float32)
EXPORT(double, float64)
EXPORT(bfloat16, bfloat16)
