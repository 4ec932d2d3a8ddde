// SPDX-License-Identifier: Apache-2.0
// The two floating-point units side by side, for units_test.cpp.
`default_nettype none
module fp_units (
    input  wire         clk,
    input  wire  [15:0] half,
    input  wire  [31:0] single,
    output wire  [31:0] product,
    input  wire  [31:0] scale,
    input  wire  [15:0] dot,
    input  wire  [31:0] acc, // comes with scale and dot here
    output wire  [31:0] sum
);
    logic [31:0] waiting[6];
    always_ff @(posedge clk) begin
        waiting[0] <= acc;
        for (int i = 1; i < 6; i++) waiting[i] <= waiting[i - 1];
    end
    scale_product scale_unit (.clk(clk), .half(half), .single(single), .product(product));
    dot_fma fma_unit (.clk(clk), .scale(scale), .dot(dot), .acc(waiting[5]), .sum(sum));
endmodule
`default_nettype wire
