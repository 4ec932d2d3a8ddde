// SPDX-License-Identifier: Apache-2.0
// One of the four lanes that turn integer dot products into float sums. A lane owns 4 rows of a tile; with 4 tiles side
// by side that is 16 sums, each met every 16 cycles: longer than the 12 cycles that an addition needs to come back.
//
// Dot products and weight scales of a round (a block of every tile, 2 groups) are written in the order in which they
// become known and read in the order {group, tile, row}. Four rounds fit. Address: {round, group, tile, row}.
`default_nettype none
module dot_lane (
    input  wire         clk,
    input  wire         write_half,
    input  wire   [6:0] half_address,
    input  wire  [15:0] half,
    input  wire         write_dot,
    input  wire   [6:0] dot_address,
    input  wire  [15:0] dot,
    // One step: of address step_address, at cycle 0 (single: the group's activation scale)...
    input  wire   [6:0] step_address,
    input  wire  [31:0] single,
    // ... whose sum is read at cycle 12 and written at cycle 23. Sum: {tile, row}.
    input  wire   [3:0] read_sum,
    input  wire         read_first,
    input  wire         write_enable,
    input  wire   [3:0] write_sum,
    output wire  [31:0] sum
);
    localparam int PRODUCT_CYCLES = 6;

    (* ram_style = "distributed" *) logic [15:0] halves[128];
    (* ram_style = "distributed" *) logic [15:0] dots[128];
    (* ram_style = "distributed" *) logic [31:0] sums[16];
    logic [15:0] half_read;
    logic [31:0] single_read, sum_read;
    logic [16 * PRODUCT_CYCLES - 1:0] waiting; // dot products, while their scale is made
    logic [15:0] dot_read;
    wire [31:0] scale;

    always_ff @(posedge clk) begin
        if (write_half) halves[half_address] <= half;
        if (write_dot) dots[dot_address] <= dot;
        half_read <= halves[step_address];
        single_read <= single;
        dot_read <= dots[step_address];
        waiting <= {waiting[16 * PRODUCT_CYCLES - 17:0], dot_read};
        if (write_enable) sums[write_sum] <= sum;
        sum_read <= read_first ? 32'd0 : sums[read_sum];
    end

    scale_product scale_unit (.clk(clk), .half(half_read), .single(single_read), .product(scale));
    dot_fma fma_unit (
        .clk(clk), .scale(scale), .dot(waiting[16 * PRODUCT_CYCLES - 1 -: 16]), .acc(sum_read), .sum(sum));
endmodule
`default_nettype wire
