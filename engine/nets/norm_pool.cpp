// Instance norm, ReLU and 2x2 mean pooling of one ConvNet block, and its three derivatives on the CPU. Formulas and
// names are those of norm_pool.py, derived in docs/method.md, section 8.
//
// Faster than PyTorch's operations because each function reads an image once or twice while it lies in the processor's
// cache, instead of once an operation. Layouts: images (batch, side, side, channels), cells (batch, side / 2, side / 2,
// channels), statistics of an image (batch, channels). T is the type of images, A the type of sums, scale and shift.
//
// Threads divide the batch and no sum crosses an image, so the result has the same bytes for any number of threads.
// Inner loops run over channels, which are next to each other in memory: that is what `omp simd` vectorizes.
#include "images.h"

namespace {

// z -> pooled; also mean, rstd (batch, channels), open_count and open_sum (cells), saved for the other functions.
template <class T, class A = Wide<T>>
void forward(const Shape& s, A epsilon, const T* __restrict z, const A* __restrict scale, const A* __restrict shift,
             A* __restrict mean, A* __restrict rstd, A* __restrict open_count, A* __restrict open_sum,
             T* __restrict pooled) {
    const int64_t pixels = s.side * s.side, n = s.channels;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.batch; ++b) {
        const T* zb = z + b * s.image();
        A* __restrict m = mean + b * n;
        A* __restrict r = rstd + b * n;
        std::vector<A> slope(n);
        sum_over_pixels(s, 1, m, [=](int64_t at, A* __restrict sum) {
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) sum[c] += wide(zb[at + c]);
        });
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) m[c] /= A(pixels);
        // The variance in a second pass, around the mean: E[z^2] - mean^2 would cancel most digits in float32.
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
            A* __restrict countb = open_count + b * s.cells() + cell;
            A* __restrict sumb = open_sum + b * s.cells() + cell;
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
                countb[c] = count;
                sumb[c] = sum;
                store(out[c], A(0.25) * (k[c] * sum + shift[c] * count));
            }
        });
    }
}

// grad_pooled -> grad_z; grad_scale and grad_shift by image (batch, channels), which the caller sums over the batch.
template <class T, class A = Wide<T>>
void backward(const Shape& s, const T* __restrict z, const A* __restrict mean, const A* __restrict rstd,
              const A* __restrict open_count, const A* __restrict open_sum, const A* __restrict scale,
              const A* __restrict shift, const T* __restrict grad_pooled, T* __restrict grad_z,
              A* __restrict grad_scale, A* __restrict grad_shift) {
    const A per_pixel = A(1) / A(s.side * s.side);
    const int64_t n = s.channels;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.batch; ++b) {
        const T* zb = z + b * s.image();
        T* out = grad_z + b * s.image();
        const A* __restrict m = mean + b * n;
        const A* __restrict r = rstd + b * n;
        std::vector<A> of_count(n, A(0)), of_sum(n, A(0));
        // Sums over the image of g o and g o u: g is constant in a cell, so they need the saved cells alone, not z.
        A* __restrict m1 = of_count.data();
        A* __restrict m2 = of_sum.data();
        each_cell(s, [=](int64_t cell, const int64_t (&)[4]) {
            const int64_t offset = b * s.cells() + cell;
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                const A g = A(0.25) * wide(grad_pooled[offset + c]);
                m1[c] += g * open_count[offset + c];
                m2[c] += g * open_sum[offset + c];
            }
        });
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            grad_shift[b * n + c] = m1[c];
            grad_scale[b * n + c] = r[c] * m2[c];
            // From here on m1 and m2 are what the norm's mean and variance send back to every pixel.
            m1[c] *= per_pixel;
            m2[c] *= per_pixel * r[c] * r[c];
        }
        // `part` of its cell's derivative reaches a pixel: a quarter, or nothing where the pixel is in no cell.
        const auto write = [=](int64_t at, const T* __restrict g, A part) {
#pragma omp simd
            for (int64_t c = 0; c < n; ++c) {
                const A u = wide(zb[at + c]) - m[c];
                const A through_relu = positive(scale[c] * r[c], u, shift[c]) ? part * wide(g[c]) : A(0);
                store(out[at + c], scale[c] * r[c] * (through_relu - m1[c] - u * m2[c]));
            }
        };
        const T* gb = grad_pooled + b * s.cells();
        each_cell(s, [=](int64_t cell, const int64_t (&at)[4]) {
            for (int q = 0; q < 4; ++q) write(at[q], gb + cell, A(0.25));
        });
        each_pixel_outside(s, [=](int64_t at) { write(at, gb, A(0)); });
    }
}

// The tangent of forward: d_z, d_scale, d_shift -> d_pooled; also d_mean, shrink, d_open_sum, saved for backward_jvp.
template <class T, class A = Wide<T>>
void forward_jvp(const Shape& s, const T* __restrict z, const A* __restrict mean, const A* __restrict rstd,
                 const A* __restrict open_count, const A* __restrict open_sum, const A* __restrict scale,
                 const A* __restrict shift, const A* __restrict d_scale, const A* __restrict d_shift,
                 const T* __restrict d_z, A* __restrict d_mean, A* __restrict shrink, A* __restrict d_open_sum,
                 T* __restrict d_pooled) {
    const A per_pixel = A(1) / A(s.side * s.side);
    const int64_t n = s.channels;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.batch; ++b) {
        const T* zb = z + b * s.image();
        const T* dzb = d_z + b * s.image();
        const A* __restrict m = mean + b * n;
        const A* __restrict r = rstd + b * n;
        A* __restrict c1 = d_mean + b * n;
        A* __restrict c2 = shrink + b * n;
        // Both sums over the image in one pass: of d_z, and of u d_z.
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
            c1[c] = per_pixel * sums[c];
            c2[c] = per_pixel * r[c] * r[c] * sums[n + c];
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
                d_open_sum[offset + c] = sum;
                const A moved = r[c] * (scale[c] * sum + d_scale[c] * open_sum[offset + c]);
                store(d_pooled[offset + c], A(0.25) * (moved + d_shift[c] * open_count[offset + c]));
            }
        });
    }
}

// Sums over an image of g o, g o u, d o, and g o w + d o u, added to g1, g2, d1, d2.
template <class T, class A = Wide<T>>
inline void sum_gradients(const Shape& s, int64_t b, const A* __restrict open_count, const A* __restrict open_sum,
                          const A* __restrict d_open_sum, const T* __restrict grad_pooled,
                          const T* __restrict d_grad_pooled, A* __restrict g1, A* __restrict g2, A* __restrict d1,
                          A* __restrict d2) {
    const int64_t n = s.channels;
    each_cell(s, [=](int64_t cell, const int64_t (&)[4]) {
        const int64_t offset = b * s.cells() + cell;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            const A g = A(0.25) * wide(grad_pooled[offset + c]), d = A(0.25) * wide(d_grad_pooled[offset + c]);
            g1[c] += g * open_count[offset + c];
            g2[c] += g * open_sum[offset + c];
            d1[c] += d * open_count[offset + c];
            d2[c] += g * d_open_sum[offset + c] + d * open_sum[offset + c];
        }
    });
}

// The tangent of backward: grad_pooled, d_grad_pooled -> d_grad_z, and grad_z once more, which costs little here and
// need not be kept from backward; d_grad_scale and d_grad_shift by image (batch, channels).
template <class T, class A = Wide<T>>
void backward_jvp(const Shape& s, const T* __restrict z, const A* __restrict mean, const A* __restrict rstd,
                  const A* __restrict open_count, const A* __restrict open_sum, const A* __restrict scale,
                  const A* __restrict shift, const A* __restrict d_scale, const T* __restrict d_z,
                  const A* __restrict d_mean, const A* __restrict shrink, const A* __restrict d_open_sum,
                  const T* __restrict grad_pooled, const T* __restrict d_grad_pooled, T* __restrict grad_z,
                  T* __restrict d_grad_z, A* __restrict d_grad_scale, A* __restrict d_grad_shift) {
    const A per_pixel = A(1) / A(s.side * s.side);
    const int64_t n = s.channels;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.batch; ++b) {
        const T* zb = z + b * s.image();
        const T* dzb = d_z + b * s.image();
        T* out = grad_z + b * s.image();
        T* d_out = d_grad_z + b * s.image();
        const A* __restrict m = mean + b * n;
        const A* __restrict r = rstd + b * n;
        const A* __restrict c1 = d_mean + b * n;
        const A* __restrict c2 = shrink + b * n;
        std::vector<A> sums(4 * n, A(0));
        A* __restrict g1 = sums.data();
        A* __restrict g2 = g1 + n;
        A* __restrict d1 = g2 + n;
        A* __restrict d2 = d1 + n;
        sum_gradients(s, b, open_count, open_sum, d_open_sum, grad_pooled, d_grad_pooled, g1, g2, d1, d2);
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) {
            d_grad_shift[b * n + c] = d1[c];
            d_grad_scale[b * n + c] = r[c] * d2[c];
            const A own = per_pixel * scale[c], moved = per_pixel * d_scale[c], square = r[c] * r[c];
            // The product rule: the scale's own tangent moves what g sends back.
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
                const A grad = (o ? scale[c] * g : A(0)) - g1[c] - u * g2[c];
                const A d_grad = (o ? scale[c] * d + d_scale[c] * g : A(0)) - d1[c] - w * g2[c] - u * d2[c];
                store(out[at + c], r[c] * grad);
                store(d_out[at + c], r[c] * (d_grad - c2[c] * grad));
            }
        };
        const T* gb = grad_pooled + b * s.cells();
        const T* db = d_grad_pooled + b * s.cells();
        each_cell(s, [=](int64_t cell, const int64_t (&at)[4]) {
            for (int q = 0; q < 4; ++q) write(at[q], gb + cell, db + cell, A(0.25));
        });
        each_pixel_outside(s, [=](int64_t at) { write(at, gb, db, A(0)); });
    }
}

}  // namespace

// What norm_pool_cpp.py calls, one function for each type. s: batch, side, channels, threads; t: the addresses of the
// tensors, in the order of the parameters above.
#define EXPORT(T, suffix)                                                                                            \
    extern "C" void forward_##suffix(const Shape* s, double epsilon, void** t) {                                     \
        using A = Wide<T>;                                                                                           \
        forward<T>(*s, A(epsilon), (T*)t[0], (A*)t[1], (A*)t[2], (A*)t[3], (A*)t[4], (A*)t[5], (A*)t[6], (T*)t[7]);  \
    }                                                                                                                \
    extern "C" void backward_##suffix(const Shape* s, double, void** t) {                                            \
        using A = Wide<T>;                                                                                           \
        backward<T>(*s, (T*)t[0], (A*)t[1], (A*)t[2], (A*)t[3], (A*)t[4], (A*)t[5], (A*)t[6], (T*)t[7], (T*)t[8],    \
                    (A*)t[9], (A*)t[10]);                                                                            \
    }                                                                                                                \
    extern "C" void forward_jvp_##suffix(const Shape* s, double, void** t) {                                         \
        using A = Wide<T>;                                                                                           \
        forward_jvp<T>(*s, (T*)t[0], (A*)t[1], (A*)t[2], (A*)t[3], (A*)t[4], (A*)t[5], (A*)t[6], (A*)t[7], (A*)t[8], \
                       (T*)t[9], (A*)t[10], (A*)t[11], (A*)t[12], (T*)t[13]);                                        \
    }                                                                                                                \
    extern "C" void backward_jvp_##suffix(const Shape* s, double, void** t) {                                        \
        using A = Wide<T>;                                                                                           \
        backward_jvp<T>(*s, (T*)t[0], (A*)t[1], (A*)t[2], (A*)t[3], (A*)t[4], (A*)t[5], (A*)t[6], (A*)t[7],          \
                        (T*)t[8], (A*)t[9], (A*)t[10], (A*)t[11], (T*)t[12], (T*)t[13], (T*)t[14], (T*)t[15],        \
                        (A*)t[16], (A*)t[17]);                                                                       \
    }

EXPORT(float, float32)
EXPORT(double, float64)
EXPORT(bfloat16, bfloat16)
