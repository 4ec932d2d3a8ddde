// SPDX-License-Identifier: Apache-2.0
// fma(scale, float(dot), acc), rounded once to nearest even: one group's step of one row.
//
// dot is an integer of 16 bits, so float(dot) is exact and 24 x 15 bits is the whole product: one DSP48E2. The product
// is not rounded before the addition. The scale and acc are no subnormals (what makes them flushes); a result below
// 2^-126 after rounding to 24 bits becomes zero of its sign; a NaN is 0x7fc00000; an exact difference of zero is +0.
//
// One step per cycle, no stall. acc is wanted 6 cycles after scale and dot, the sum comes 16 cycles after them. So a sum
// may be an acc again 10 cycles later (12 through a memory and its register): rows are interleaved to wait for it.
`default_nettype none
module dot_fma (
    input  wire         clk,
    input  wire  [31:0] scale,
    input  wire  [15:0] dot,
    input  wire  [31:0] acc,
    output logic [31:0] sum
);
    // 1: magnitude of dot.
    logic [31:0] scale1;
    logic [14:0] count1;
    logic minus1;
    always_ff @(posedge clk) begin
        scale1 <= scale;
        count1 <= dot[15] ? 15'(-dot) : dot[14:0];
        minus1 <= dot[15];
    end

    // 2: its leading one goes to bit 14.
    logic [3:0] top;
    always_comb begin
        top = 0;
        for (int i = 0; i < 15; i++)
            if (count1[i]) top = i[3:0];
    end
    wire scale_zero = scale1[30:23] == 0;
    wire scale_huge = scale1[30:23] == 255;
    logic [23:0] sig2;
    logic [14:0] count2;
    logic signed [9:0] exponent2;
    logic [3:0] tag2; // sign, nan, inf, zero
    always_ff @(posedge clk) begin
        sig2 <= {1'b1, scale1[22:0]};
        count2 <= count1 << (4'd14 - top);
        exponent2 <= $signed({2'b0, scale1[30:23]}) + $signed({6'b0, top}) + 10'sd1;
        tag2 <= {scale1[31] ^ minus1, scale_huge && (scale1[22:0] != 0 || count1 == 0), scale_huge,
                 scale_zero || count1 == 0};
    end

    // 3, 4, 5: the multiplier with its input, middle and output registers.
    logic [23:0] sig3;
    logic [14:0] count3;
    logic [38:0] middle, whole;
    logic signed [9:0] exponent3, exponent4, exponent5;
    logic [3:0] tag3, tag4, tag5;
    always_ff @(posedge clk) begin
        sig3 <= sig2;
        count3 <= count2;
        middle <= sig3 * count3;
        whole <= middle;
        exponent3 <= exponent2;
        exponent4 <= exponent3;
        exponent5 <= exponent4;
        tag3 <= tag2;
        tag4 <= tag3;
        tag5 <= tag4;
    end

    // 6: leading one of the product to bit 38: |product| = product6 / 2^38 * 2^(exponent6 - 127).
    logic [38:0] product6;
    logic signed [9:0] exponent6;
    logic [3:0] tag6;
    always_ff @(posedge clk) begin
        product6 <= whole[38] ? whole : whole << 1;
        exponent6 <= whole[38] ? exponent5 : exponent5 - 10'sd1;
        tag6 <= tag5;
    end

    // 7: the addend of the larger exponent goes to `big`, the other to `little`, to be shifted by the difference.
    // 42 bits: leading one at bit 41. What shifts out below is kept as one sticky bit (bit 0). That is exact: bits are
    // lost only for differences above 3, where at most one leading bit can cancel, so bit 0 stays below the rounding.
    wire acc_zero = acc[30:23] == 0;
    wire acc_huge = acc[30:23] == 255;
    wire acc_nan = acc_huge && acc[22:0] != 0;
    wire signed [10:0] ahead = 11'(exponent6) - $signed({3'b0, acc[30:23]});
    wire product_first = acc_zero || (!tag6[0] && ahead >= 0);
    wire [10:0] apart = ahead < 0 ? -ahead : ahead;
    wire [41:0] wide_product = tag6[0] ? 42'd0 : {product6, 3'd0};
    wire [41:0] wide_acc = acc_zero ? 42'd0 : {1'b1, acc[22:0], 18'd0};
    logic [41:0] big7, little7;
    logic [5:0] shift7;
    logic signed [9:0] exponent7;
    logic minus7, differ7;
    logic [3:0] special7; // of the result: sign, nan, inf, both addends zero
    always_ff @(posedge clk) begin
        big7 <= product_first ? wide_product : wide_acc;
        little7 <= product_first ? wide_acc : wide_product;
        shift7 <= apart > 11'd63 ? 6'd63 : apart[5:0];
        exponent7 <= product_first ? exponent6 : $signed({2'b0, acc[30:23]});
        minus7 <= product_first ? tag6[3] : acc[31];
        differ7 <= tag6[3] != acc[31];
        special7 <= {tag6[1] ? tag6[3] : acc_huge ? acc[31] : tag6[3] && acc[31],
                     tag6[2] || acc_nan || (tag6[1] && acc_huge && tag6[3] != acc[31]), tag6[1] || acc_huge,
                     tag6[0] && acc_zero};
    end

    // 8, 9: shift right by eights, then by ones, with the sticky bit.
    logic [41:0] big8, little8, big9, little9;
    logic [2:0] shift8;
    logic lost8, minus8, differ8, minus9, differ9;
    logic signed [9:0] exponent8, exponent9;
    logic [3:0] special8, special9;
    wire [41:0] by_eights = little7 >> {shift7[5:3], 3'd0};
    wire [41:0] eights_mask = ~(~42'd0 << {shift7[5:3], 3'd0});
    wire [41:0] by_ones = little8 >> shift8;
    wire [6:0] ones_mask = ~(~7'd0 << shift8);
    always_ff @(posedge clk) begin
        big8 <= big7;
        little8 <= by_eights;
        lost8 <= (little7 & eights_mask) != 0;
        shift8 <= shift7[2:0];
        minus8 <= minus7;
        differ8 <= differ7;
        exponent8 <= exponent7;
        special8 <= special7;
        big9 <= big8;
        little9 <= by_ones | 42'(lost8 || (little8[6:0] & ones_mask) != 0);
        minus9 <= minus8;
        differ9 <= differ8;
        exponent9 <= exponent8;
        special9 <= special8;
    end

    // 10: add or subtract; 11: magnitude. A negative difference needs equal exponents, where nothing was lost.
    logic signed [43:0] sum10;
    logic [42:0] sum11;
    logic minus10, minus11;
    logic signed [9:0] exponent10, exponent11;
    logic [3:0] special10, special11;
    always_ff @(posedge clk) begin
        sum10 <= differ9 ? $signed({2'b0, big9}) - $signed({2'b0, little9})
                         : $signed({2'b0, big9}) + $signed({2'b0, little9});
        minus10 <= minus9;
        exponent10 <= exponent9;
        special10 <= special9;
        sum11 <= sum10 < 0 ? 43'(-sum10) : sum10[42:0];
        minus11 <= minus10 ^ (sum10 < 0);
        exponent11 <= exponent10;
        special11 <= special10;
    end

    // 12: where the leading one is, in eights and within its eight (bit 42 is the first of the highest).
    logic [47:0] search;
    logic [2:0] eight, one;
    logic [7:0] found;
    always_comb begin
        search = {sum11, 5'd0};
        eight = 0;
        found = search[7:0];
        for (int i = 1; i < 6; i++)
            if (search[8 * i +: 8] != 0) begin
                eight = i[2:0];
                found = search[8 * i +: 8];
            end
        one = 0;
        for (int i = 0; i < 8; i++)
            if (found[i]) one = i[2:0];
    end
    logic [42:0] sum12;
    logic [41:0] sum13, sum14; // below the leading one
    logic [2:0] eights12, ones12, ones13;
    logic minus12, minus13, minus14, zero12, zero13, zero14;
    logic signed [9:0] exponent12, exponent13, exponent14;
    logic [3:0] special12, special13, special14;
    // 13, 14: shift left by eights, then by ones.
    always_ff @(posedge clk) begin
        sum12 <= sum11;
        eights12 <= 3'd5 - eight;
        ones12 <= 3'd7 - one;
        zero12 <= sum11 == 0;
        minus12 <= minus11;
        exponent12 <= exponent11 + 10'sd1;
        special12 <= special11;
        sum13 <= 42'(sum12 << {eights12, 3'd0});
        ones13 <= ones12;
        zero13 <= zero12;
        minus13 <= minus12;
        exponent13 <= exponent12 - $signed({4'd0, eights12, 3'd0});
        special13 <= special12;
        sum14 <= sum13 << ones13;
        zero14 <= zero13;
        minus14 <= minus13;
        exponent14 <= exponent13 - $signed({7'd0, ones13});
        special14 <= special13;
    end

    // 15: round, exponent and fraction as one number: a carry out of the fraction is the next exponent. 16: pack.
    logic [32:0] rounded;
    logic minus15, zero15;
    logic [3:0] special15;
    wire signed [9:0] last_exponent = rounded[32:23];
    always_ff @(posedge clk) begin
        rounded <= {exponent14, sum14[41:19]} + 33'(sum14[18] && (sum14[17:0] != 0 || sum14[19]));
        minus15 <= minus14;
        zero15 <= zero14;
        special15 <= special14;
        if (special15[2]) sum <= 32'h7fc00000;
        else if (special15[1]) sum <= {special15[3], 31'h7f800000};
        else if (special15[0]) sum <= {special15[3], 31'd0};
        else if (zero15) sum <= 32'd0;
        else if (last_exponent <= 0) sum <= {minus15, 31'd0};
        else if (last_exponent >= 255) sum <= {minus15, 31'h7f800000};
        else sum <= {minus15, rounded[30:0]};
    end
endmodule
`default_nettype wire
