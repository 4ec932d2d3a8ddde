/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every directive of the HLS tool as a macro, so that another tool is served by changing this file. Vitis HLS defines
 * __VITIS_HLS__; for gcc and clang each macro is empty.
 */
#ifndef SLUICE_HLS_PRAGMAS_H
#define SLUICE_HLS_PRAGMAS_H

#ifdef __VITIS_HLS__
#define HLS_TEXT(text) _Pragma(#text)
#define HLS_PRAGMA(text) HLS_TEXT(HLS text)
#else
#define HLS_PRAGMA(text)
#pragma GCC diagnostic ignored "-Wunused-label" /* a label names a loop for the HLS tool's report */
#endif

/* A memory port of 512 bits with a bundle of its own: bursts of 16 words, 32 of them under way. */
#define HLS_PORT(name)                                                                                                 \
    HLS_PRAGMA(interface m_axi port = name bundle = name offset = slave latency = 64 max_widen_bitwidth =              \
                   512 max_read_burst_length = 16 max_write_burst_length = 16 num_read_outstanding =                   \
                       32 num_write_outstanding = 32)                                                                  \
    HLS_PRAGMA(aggregate variable = name compact = bit)
#define HLS_SCALAR(name) HLS_PRAGMA(interface s_axilite port = name)
#define HLS_CONTROL HLS_PRAGMA(interface s_axilite port = return )

/* Inside a loop or function body, on its first lines. */
#define HLS_PIPELINE(ii) HLS_PRAGMA(pipeline II = ii)
#define HLS_UNROLL HLS_PRAGMA(unroll)
#define HLS_DATAFLOW HLS_PRAGMA(dataflow)
#define HLS_INLINE HLS_PRAGMA(inline)
#define HLS_NO_INLINE HLS_PRAGMA(inline off)
#define HLS_TRIPS(low, high) HLS_PRAGMA(loop_tripcount min = low max = high)

/* After the variable's declaration. */
#define HLS_PARTITION(array, d) HLS_PRAGMA(array_partition variable = array complete dim = d)
#define HLS_WIDE(array) HLS_PRAGMA(aggregate variable = array compact = bit)
#define HLS_FIFO(array, d) HLS_PRAGMA(stream variable = array type = fifo depth = d)
#define HLS_URAM(array) HLS_PRAGMA(bind_storage variable = array type = ram_2p impl = uram)
/* What the tool cannot see, stated where it is proved: an iteration reads nothing that one of the last d - 1 wrote ... */
#define HLS_DISTANCE(array, d)                                                                                         \
    HLS_PRAGMA(dependence variable = array type = inter direction = raw distance = d dependent = true)
/* ... or that any other wrote. */
#define HLS_INDEPENDENT(array) HLS_PRAGMA(dependence variable = array type = inter dependent = false)

#endif
