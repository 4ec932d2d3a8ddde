/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card_check_params.h"

#include "host/base/bytes.h"
#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_operands.h"

#include <inttypes.h>
#include <math.h>

int check_between(const char *field, uint32_t value, uint32_t low, uint32_t high, struct error *err)
{
    if (value >= low && value <= high) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s: %u is not in %u to %u", field, value, low, high);
}

static int check_finite(const char *field, uint32_t bits, struct error *err)
{
    if (isfinite(float_of_bits(bits))) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s: no finite number", field);
}

/* Of what is divided by, or of what only 0 turns off: subnormals and -0 would count as 0 on one card and not on another. */
static int check_positive(const char *field, uint32_t bits, int may_be_none, struct error *err)
{
    const float value = float_of_bits(bits);
    if ((isnormal(value) && value > 0) || (may_be_none && bits == 0)) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s: %sno positive normal number", field,
                     may_be_none ? "not 0 and " : "");
}

static int check_divides(const char *field, uint32_t value, const char *what, uint32_t whole, struct error *err)
{
    if (whole % value == 0) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s: %u does not divide %u %s", field, value, whole, what);
}

/* The banks over which a matrix or a pool is dealt. */
static int check_banks(const char *field, uint32_t banks, const struct card_check_limits *limits, struct error *err)
{
    return banks <= 1 ? 0 : check_between(field, banks, 0, limits->n_banks, err);
}

int check_norm_params(const struct card_descriptor *d, const struct card_descriptor *e,
                      const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    int rc = check_finite("P0 (epsilon)", d->param[0], err);
    if (rc || float_of_bits(d->param[0]) >= 0) return rc;
    return error_set(err, ERROR_BAD_ARGUMENT, "P0 (epsilon): negative");
}

int check_matmul_params(const struct card_descriptor *d, const struct card_descriptor *e,
                        const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    return check_banks("P0 (banks)", d->param[0], limits, err);
}

int check_rope_params(const struct card_descriptor *d, const struct card_descriptor *e,
                      const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    const uint32_t turn = d->param[0];
    int rc = check_between("P0 (dimensions that turn)", turn, 2, d->cols, err);
    if (!rc && turn % 2) rc = error_set(err, ERROR_BAD_ARGUMENT, "P0 (dimensions that turn): %u is odd", turn);
    if (!rc) rc = check_finite("P1 (factor)", d->param[1], err);
    return rc ? rc : check_between("P2 (first that turns)", d->param[2], 0, d->cols - turn, err);
}

int check_kv_write_params(const struct card_descriptor *d, const struct card_descriptor *e,
                          const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    int rc = check_between("P0 (pages)", d->param[0], 1, MAX_PAGES, err);
    if (!rc) rc = check_between("P1 (value dimensions)", d->param[1], 0, CARD_MAX_HEAD_DIM, err);
    return rc ? rc : check_banks("P2 (banks)", d->param[2], limits, err);
}

static int check_attention_extension(const struct card_descriptor *d, const struct card_descriptor *e,
                                     const struct card_check_limits *limits, struct error *err)
{
    const int latent = d->flags & CARD_FLAG_LATENT;
    int rc = check_between("E.cols (value dimensions)", e->cols, 0, latent ? d->cols : CARD_MAX_HEAD_DIM, err);
    if (!rc) rc = check_banks("E.rows (banks)", e->rows, limits, err);
    if (!rc) rc = check_positive("E.P0 (soft-cap)", e->param[0], 1, err);
    if (!rc && e->flags & CARD_FLAG_BIAS) {
        rc = check_between("E.P2 (distances)", e->param[2], 0, CARD_MAX_POSITIONS, err);
    }
    if (!rc && e->flags & CARD_FLAG_SPARSE) rc = check_between("E.P3 (positions)", e->param[3], 1, MAX_SPARSE, err);
    return rc;
}

int check_attention_params(const struct card_descriptor *d, const struct card_descriptor *e,
                           const struct card_check_limits *limits, struct error *err)
{
    int rc = check_between("P0 (pages)", d->param[0], 1, MAX_PAGES, err);
    if (!rc) rc = check_finite("P1 (scale)", d->param[1], err);
    if (!rc) rc = check_between("P2 (KV heads)", d->param[2], 1, d->rows, err);
    if (!rc) rc = check_divides("P2 (KV heads)", d->param[2], "heads", d->rows, err);
    if (!rc && e) rc = check_attention_extension(d, e, limits, err);
    return rc;
}

int check_router_params(const struct card_descriptor *d, const struct card_descriptor *e,
                        const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    const uint32_t groups = d->param[1];
    int rc = check_between("rows (choices)", d->rows, 1, d->cols, err);
    if (!rc) rc = check_finite("P0 (factor)", d->param[0], err);
    if (rc || groups <= 1) return rc;
    rc = check_between("P1 (groups)", groups, 1, d->cols, err);
    if (!rc) rc = check_divides("P1 (groups)", groups, "experts", d->cols, err);
    if (!rc && d->flags & CARD_FLAG_GROUP_PAIRS && d->cols / groups < 2) {
        rc =
            error_set(err, ERROR_BAD_ARGUMENT, "P1 (groups): %u of one expert each, but GROUP_PAIRS takes two", groups);
    }
    if (!rc) rc = check_between("P2 (groups that take part)", d->param[2], 1, groups, err);
    return rc ? rc : check_between("rows (choices)", d->rows, 1, d->cols / groups * d->param[2], err);
}

int check_expert_matmul_params(const struct card_descriptor *d, const struct card_descriptor *e,
                               const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    int rc = check_between("P0 (choices)", d->param[0], 1, MAX_CHOICES, err);
    if (!rc) rc = check_between("P1 (experts)", d->param[1], 1, MAX_EXPERTS, err);
    if (!rc && d->flags & CARD_FLAG_EACH && d->param[0] != d->param[1]) {
        rc = error_set(err, ERROR_BAD_ARGUMENT, "P0 (choices): %u, but EACH chooses all of %u experts", d->param[0],
                       d->param[1]);
    }
    return rc ? rc : check_banks("P2 (banks)", d->param[2], limits, err);
}

int check_glu_params(const struct card_descriptor *d, const struct card_descriptor *e,
                     const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    int rc = check_positive("P0 (limit)", d->param[0], 1, err);
    if (!rc && d->format == CARD_ACTIVATION_SWIGLU_OAI) rc = check_finite("P1 (steepness)", d->param[1], err);
    return rc;
}

int check_choices_params(const struct card_descriptor *d, const struct card_descriptor *e,
                         const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    return check_between("P0 (choices)", d->param[0], 1, MAX_CHOICES, err);
}

int check_copy_params(const struct card_descriptor *d, const struct card_descriptor *e,
                      const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    const uint64_t token = (uint64_t)(d->rows - 1) * d->param[3] + d->cols; /* floats of one token's vectors in dst */
    if (d->rows > 1 && d->param[3] < d->cols) {
        return error_set(err, ERROR_BAD_ARGUMENT, "P3 (from vector to vector of dst): %u is less than a vector's %u",
                         d->param[3], d->cols);
    }
    if (d->tokens > 1 && d->param[2] < token) {
        return error_set(err, ERROR_BAD_ARGUMENT, "P2 (from token to token of dst): %u is less than a token's %" PRIu64,
                         d->param[2], token);
    }
    return 0;
}

int check_factor_params(const struct card_descriptor *d, const struct card_descriptor *e,
                        const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    return check_finite("P0 (factor)", d->param[0], err);
}

int check_soft_cap_params(const struct card_descriptor *d, const struct card_descriptor *e,
                          const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    return check_positive("P0 (cap)", d->param[0], 0, err);
}

int check_top_k_params(const struct card_descriptor *d, const struct card_descriptor *e,
                       const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    return check_between("rows (choices)", d->rows, 1, d->cols, err);
}

int check_index_params(const struct card_descriptor *d, const struct card_descriptor *e,
                       const struct card_check_limits *limits, struct error *err)
{
    int rc = check_between("P0 (pages)", d->param[0], 1, MAX_PAGES, err);
    if (!rc) rc = check_finite("P1 (scale)", d->param[1], err);
    if (!rc) rc = check_between("P3 (positions)", d->param[3], 1, MAX_SPARSE, err);
    return rc ? rc : check_banks("E.rows (banks)", e->rows, limits, err);
}

int check_scan_params(const struct card_descriptor *d, const struct card_descriptor *e,
                      const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    int rc = check_between("P0 (states)", d->param[0], 1, MAX_STATES, err);
    if (!rc) rc = check_between("P1 (value dimensions)", d->param[1], 1, CARD_MAX_HEAD_DIM, err);
    if (!rc) rc = check_between("P2 (key heads)", d->param[2], 1, d->rows, err);
    return rc ? rc : check_divides("P2 (key heads)", d->param[2], "heads", d->rows, err);
}

int check_conv_params(const struct card_descriptor *d, const struct card_descriptor *e,
                      const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    (void)limits;
    int rc = check_between("P0 (states)", d->param[0], 1, MAX_STATES, err);
    return rc ? rc : check_between("P1 (width)", d->param[1], 2, 8, err);
}

int check_await_params(const struct card_descriptor *d, const struct card_descriptor *e,
                       const struct card_check_limits *limits, struct error *err)
{
    (void)e;
    if (limits->abi_version < CARD_ABI_PER_CHOICE && (d->flags & CARD_FLAG_PER_CHOICE || d->param[3] > 0))
        return error_set(err, ERROR_BAD_ARGUMENT, "%s: of card ABI %u, this card speaks %u",
                         d->param[3] > 0 ? "P3 (descriptors)" : "flags: PER_CHOICE", CARD_ABI_PER_CHOICE,
                         limits->abi_version);
    int rc = check_between("P0 (choices)", d->param[0], 1, MAX_CHOICES, err);
    if (!rc) rc = check_between("P1 (experts)", d->param[1], 1, MAX_EXPERTS, err);
    return rc ? rc : check_between("P2 (microseconds)", d->param[2], 1, MAX_AWAIT_US, err);
}
