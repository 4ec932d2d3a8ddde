// SPDX-License-Identifier: Apache-2.0
// half x float32 -> float32, rounded to nearest even: a weight scale times an activation scale.
//
// A half is exact in float32 (subnormal halves become normal), so 11 x 24 bits is the whole product and one DSP48E2
// makes it. Subnormal float32 inputs count as zero and results below 2^-126 (after rounding to 24 bits) become zero of
// their sign; a NaN is 0x7fc00000.
//
// Latency 6 cycles, one product per cycle, no stall.
`default_nettype none
module scale_product (
    input  wire         clk,
    input  wire  [15:0] half,
    input  wire  [31:0] single,
    output logic [31:0] product
);
    // 1: significands with their leading one, exponents biased by 127. A half counts 2^-24 when it is subnormal.
    logic [3:0] top;
    always_comb begin
        top = 0;
        for (int i = 0; i < 10; i++)
            if (half[i]) top = i[3:0];
    end
    wire half_small = half[14:10] == 0;
    wire half_zero = half[14:0] == 0;
    wire half_huge = half[14:10] == 31;
    wire single_zero = single[30:23] == 0;
    wire single_huge = single[30:23] == 255;
    wire is_nan = (half_huge && half[9:0] != 0) || (single_huge && single[22:0] != 0) || (half_huge && single_zero)
        || (single_huge && half_zero);

    logic [10:0] half_sig;
    logic [23:0] single_sig;
    logic signed [9:0] exponent1;
    logic sign1, nan1, inf1, zero1;
    wire [7:0] half_exponent = half_small ? {4'd0, top} + 8'd103 : {3'd0, half[14:10]} + 8'd112;
    always_ff @(posedge clk) begin
        half_sig <= half_small ? {1'b0, half[9:0]} << (4'd10 - top) : {1'b1, half[9:0]};
        single_sig <= {1'b1, single[22:0]};
        exponent1 <= $signed({2'b0, half_exponent}) + $signed({2'b0, single[30:23]}) - 10'sd127;
        sign1 <= half[15] ^ single[31];
        nan1 <= is_nan;
        inf1 <= half_huge || single_huge;
        zero1 <= half_zero || single_zero;
    end

    // 2, 3, 4: the multiplier with its input, middle and output registers.
    logic [10:0] half_in;
    logic [23:0] single_in;
    logic [34:0] middle, whole;
    logic signed [9:0] exponent2, exponent3, exponent4;
    logic [3:0] tag2, tag3, tag4; // sign, nan, inf, zero
    always_ff @(posedge clk) begin
        half_in <= half_sig;
        single_in <= single_sig;
        middle <= half_in * single_in;
        whole <= middle;
        exponent2 <= exponent1;
        exponent3 <= exponent2;
        exponent4 <= exponent3;
        tag2 <= {sign1, nan1, inf1, zero1};
        tag3 <= tag2;
        tag4 <= tag3;
    end

    // 5: round, exponent and fraction as one number: a carry out of the fraction is the next exponent. The product of
    // two significands is in [1, 4).
    wire carry = whole[34];
    wire [22:0] kept = carry ? whole[33:11] : whole[32:10];
    wire half_bit = carry ? whole[10] : whole[9];
    wire below = carry ? whole[9:0] != 0 : whole[8:0] != 0;
    wire signed [9:0] exponent5 = exponent4 + (carry ? 10'sd1 : 10'sd0);
    logic [32:0] rounded;
    logic [3:0] tag5;
    always_ff @(posedge clk) begin
        rounded <= {exponent5, kept} + 33'(half_bit && (below || kept[0]));
        tag5 <= tag4;
    end

    // 6: pack.
    wire signed [9:0] last_exponent = rounded[32:23];
    always_ff @(posedge clk) begin
        if (tag5[2]) product <= 32'h7fc00000;
        else if (tag5[1]) product <= {tag5[3], 31'h7f800000};
        else if (tag5[0] || last_exponent <= 0) product <= {tag5[3], 31'd0};
        else if (last_exponent >= 255) product <= {tag5[3], 31'h7f800000};
        else product <= {tag5[3], rounded[30:0]};
    end
endmodule
`default_nettype wire
