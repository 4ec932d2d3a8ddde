#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Coefficients of card_math.h, found again: prints each table with the largest relative error of the polynomial.

Method: Lawson's algorithm (iteratively reweighted least squares, which converges to the minimax fit) on Chebyshev
points, for the error relative to the function that is wanted; targets are computed with 60 digits and fitted in
float64. Coefficients are rounded to float32 from the lowest power up: each is rounded and fixed, and the rest are
fitted again, so the later ones absorb the rounding of the earlier. Needs mpmath and numpy; run it with no arguments.
"""
import numpy
from mpmath import cos, erfc, exp, log, mp, mpf, pi, sin, sqrt, tanh

mp.dps = 60


def lawson(points, target, weight, powers):
    """Coefficients c that minimise max |weight (target - sum c_i points^powers[i])|."""
    basis = numpy.stack([points**p for p in powers], axis=1) * weight[:, None]
    share = numpy.full(len(points), 1 / len(points))
    best, best_error = None, numpy.inf
    for _ in range(400):
        root = numpy.sqrt(share)
        c = numpy.linalg.lstsq(basis * root[:, None], target * weight * root, rcond=None)[0]
        error = numpy.abs(target * weight - basis @ c)
        if error.max() < best_error:
            best, best_error = c, error.max()
        share *= error
        share /= share.sum()
    return best


def fit(name, function, weight, low, high, powers, n=2001):
    xs = [low + (high - low) * (1 - cos(pi * (i + mpf(1) / 2) / n)) / 2 for i in range(n)]
    points = numpy.array([float(x) for x in xs])
    target = numpy.array([float(function(x)) for x in xs])
    weights = numpy.array([float(weight(x)) for x in xs])
    fixed, rest = [], target.copy()
    for k in range(len(powers)):
        c = numpy.float32(lawson(points, rest, weights, powers[k:])[0])
        fixed.append(c)
        rest = rest - float(c) * points ** powers[k]
    print(f"{name}: largest relative error 2^{numpy.log2(numpy.abs(rest * weights).max()):.1f}")
    print("   ", ", ".join(float(c).hex() + "f" for c in fixed))


def gelu_tail(t):
    """Phi(-a) e^(a^2 / 2) (1 + a / 4) with 1 / (1 + a / 4) = 37/64 - t: what gelu_erf has beside the exponential."""
    u = mpf(37) / 64 - t
    a = 4 * (1 / u - 1)
    return erfc(a / sqrt(2)) / 2 * exp(a**2 / 2) / u


def parts(name, value, count):
    """A constant as a sum of float32 numbers, each the nearest to what the ones before leave."""
    texts = []
    for _ in range(count):
        part = float(numpy.float32(float(value)))
        texts.append(part.hex() + "f")
        value -= mpf(part)
    print(f"{name}: " + " ".join(texts))


def main():
    half_ln2 = log(2) / 2 + mpf(2) ** -20
    quarter = (pi / 4 + mpf(2) ** -12) ** 2
    fit("exp: e^r = 1 + r + r^2 P(r)", lambda x: (exp(x) - 1 - x) / x**2, lambda x: x**2 / exp(x), -half_ln2,
        half_ln2, range(5))
    fit("log: log(1 + f) = f - f^2/2 + f^3 P(f)", lambda x: (log(1 + x) - x + x**2 / 2) / x**3,
        lambda x: x**3 / log(1 + x), sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1, range(9))
    fit("sin: sin r = r + r^3 P(r^2)", lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, lambda z: z * sqrt(z) / sin(sqrt(z)),
        mpf(0), quarter, range(3))
    fit("cos: cos r = 1 - r^2/2 + r^4 P(r^2)", lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: z**2 / cos(sqrt(z)), mpf(0), quarter, range(3))
    fit("rsqrt: first guess on [1, 4)", lambda x: 1 / sqrt(x), sqrt, mpf(1), mpf(4), range(4))
    fit("tanh: tanh a = a + a^3 P(a^2)", lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z,
        lambda z: z * sqrt(z) / tanh(sqrt(z)), mpf(0), mpf(0.5625) ** 2, range(5))
    fit("softplus: log(1 + f) = f - f^2/2 + f^3 P(f)", lambda x: (log(1 + x) - x + x**2 / 2) / x**3,
        lambda x: x**3 / log(1 + x), mpf(-1) / 4, mpf(1) / 2, range(9))
    fit("gelu_erf: G(t)", gelu_tail, lambda t: 1 / gelu_tail(t), mpf(37) / 64 - 1, mpf(37) / 64 - 1 / (1 + mpf("13.25") / 4),
        range(10), 1001)
    parts("ln 2", log(2), 3)
    parts("pi/2", pi / 2, 3)
    parts("log2(e)", 1 / log(2), 1)
    parts("2/pi", 2 / pi, 1)
    parts("1/127", mpf(1) / 127, 1)
    parts("gelu: 2 sqrt(2/pi)", 2 * sqrt(2 / pi), 2)
    parts("gelu: 2 sqrt(2/pi) 0.044715", 2 * sqrt(2 / pi) * mpf("0.044715"), 2)


if __name__ == "__main__":
    main()
