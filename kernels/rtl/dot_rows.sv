// SPDX-License-Identifier: Apache-2.0
// Exact dot products of a 4-bit group (16 rows x 32 columns) with 32 signed bytes, one 512-bit word per cycle.
//
// A word holds 8 columns of 16 rows (kernels/abi/card_layout.h). Two rows share a column's activation, so one
// 27 x 18 multiplier makes two products: (q_odd * 2^18 + q_even) * value. Fields stay apart: 32 products of at most
// 8 * 127 are below 2^15, and the low field's sign is taken back from the high one when they are split. 64 multipliers
// make the 128 products of a word.
//
// valid, first and last (word of the group) come with the word; value comes one cycle later. dot_valid is raised for
// one cycle with the 16 dot products, row r in bits 16 r..16 r + 15, 9 cycles after the group's last word.
`default_nettype none
module dot_rows (
    input  wire          clk,
    input  wire          rst,
    input  wire          valid,
    input  wire          first,
    input  wire          last,
    input  wire  [511:0] word,
    input  wire   [63:0] value,
    output logic         dot_valid,
    output logic [255:0] dot
);
    localparam int FIELD = 18;

    // Stages 1..8 of the pipeline; the registers of stage n hold what n cycles made.
    logic [8:1] valids;
    logic [7:1] firsts;
    logic [8:1] lasts;
    logic [511:0] word1;
    always_ff @(posedge clk) begin
        valids <= rst ? 8'd0 : {valids[7:1], valid};
        firsts <= {firsts[6:1], first};
        lasts <= {lasts[7:1], last};
        word1 <= word;
        dot_valid <= !rst && valids[8] && lasts[8];
    end

    genvar p, c;
    generate
        for (p = 0; p < 8; p = p + 1) begin : pair
            wire [8 * 31 - 1:0] products;
            for (c = 0; c < 8; c = c + 1) begin : column
                localparam int EVEN = 32 * (2 * p) + 8 * (c % 4) + 4 * (c / 4);
                localparam int ODD = EVEN + 32;
                // q = nibble - 8: the top bit turned is the sign. Borrow of a negative low field included.
                wire [3:0] even = word1[EVEN +: 4] ^ 4'd8;
                wire [3:0] odd = word1[ODD +: 4] ^ 4'd8;
                logic signed [22:0] packed2;
                logic signed [7:0] value2;
                logic signed [30:0] middle, product;
                always_ff @(posedge clk) begin
                    packed2 <= {{odd[3], odd} - {4'd0, even[3]}, {(FIELD - 4){even[3]}}, even};
                    value2 <= value[8 * c +: 8];
                    middle <= packed2 * value2;
                    product <= middle;
                end
                assign products[31 * c +: 31] = product;
            end

            // Tree of eight, then the four words of the group.
            logic signed [31:0] two0, two1, two2, two3;
            logic signed [32:0] four0, four1;
            logic signed [33:0] eight, group;
            wire signed [30:0] p0 = products[0 +: 31], p1 = products[31 +: 31], p2 = products[62 +: 31];
            wire signed [30:0] p3 = products[93 +: 31], p4 = products[124 +: 31], p5 = products[155 +: 31];
            wire signed [30:0] p6 = products[186 +: 31], p7 = products[217 +: 31];
            always_ff @(posedge clk) begin
                two0 <= p0 + p1;
                two1 <= p2 + p3;
                two2 <= p4 + p5;
                two3 <= p6 + p7;
                four0 <= two0 + two1;
                four1 <= two2 + two3;
                eight <= four0 + four1;
                if (valids[7]) group <= firsts[7] ? eight : group + eight;
                dot[32 * p +: 16] <= group[15:0];
                dot[32 * p + 16 +: 16] <= group[FIELD +: 16] + {15'd0, group[FIELD - 1]};
            end
        end
    endgenerate
endmodule
`default_nettype wire
