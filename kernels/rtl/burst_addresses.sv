// SPDX-License-Identifier: Apache-2.0
// The read addresses of one matrix-vector product, in the order in which sluice_dot_engine.sv wants the words: first the
// activations, then the blocks of four tiles side by side. Bursts of 64-byte beats, 16 at most, none across 4 KB.
// A block is 9 beats: 576 bytes in a row, in two bursts where a 4 KB border cuts it.
`default_nettype none
module burst_addresses (
    input  wire         clk,
    input  wire         rst,
    input  wire         start,      // with the addresses and counts, which stay
    input  wire  [63:0] act,        // multiple of 64
    input  wire  [15:0] act_words,
    input  wire  [63:0] weight,     // multiple of 64
    input  wire  [15:0] blocks,
    input  wire  [31:0] tiles,
    output logic        valid,
    output logic [63:0] address,
    output logic [7:0]  beats_less_one,
    input  wire         ready
);
    localparam logic [25:0] BLOCK_BYTES = 26'd576;

    logic [63:0] group_base, block_base, tile_base; // first tile of the four, its block, that block of the tile
    logic [63:0] at;                                // what is left of the run: where it starts
    logic [15:0] left;                              // and how many words
    logic [15:0] blocks_left;
    logic [31:0] tiles_left;                        // from the first tile of the four on
    logic [1:0] tile;
    logic in_act, active;
    wire [25:0] tile_bytes = {1'b0, blocks, 9'd0} + {4'd0, blocks, 6'd0};
    wire [6:0] to_border = 7'd64 - {1'b0, at[11:6]};
    wire [4:0] wanted = left > 16'd16 ? 5'd16 : left[4:0];
    wire [4:0] beats = {2'b0, wanted} > to_border ? to_border[4:0] : wanted;
    wire run_ends = left == {11'd0, beats};
    wire [1:0] last_tile = tiles_left > 32'd4 ? 2'd3 : 2'(tiles_left - 32'd1);
    wire step = active && (!valid || ready);

    // Where the next run starts.
    wire last_of_round = tile == last_tile;
    wire last_of_group = last_of_round && blocks_left == 16'd1;
    wire [63:0] next_group = group_base + {36'd0, tile_bytes, 2'd0};
    wire [63:0] next_block = block_base + 64'(BLOCK_BYTES);
    wire [63:0] next_tile = tile_base + 64'(tile_bytes);
    wire [63:0] next_run = last_of_group ? next_group : last_of_round ? next_block : next_tile;

    always_ff @(posedge clk) begin
        if (rst) begin
            active <= 0;
            valid <= 0;
        end else if (start) begin
            active <= 1;
            in_act <= 1;
            at <= act;
            left <= act_words;
            group_base <= weight;
            block_base <= weight;
            tile_base <= weight;
            blocks_left <= blocks;
            tiles_left <= tiles;
            tile <= 0;
        end else if (step) begin
            valid <= 1;
            address <= at;
            beats_less_one <= {3'd0, beats} - 8'd1;
            at <= at + {53'd0, beats, 6'd0};
            left <= left - {11'd0, beats};
            if (run_ends && in_act) begin
                in_act <= 0;
                at <= weight;
                left <= 16'd9;
            end else if (run_ends) begin
                at <= next_run;
                tile_base <= next_run;
                left <= 16'd9;
                tile <= last_of_round ? 2'd0 : tile + 2'd1;
                if (last_of_round) begin
                    block_base <= next_run;
                    blocks_left <= last_of_group ? blocks : blocks_left - 16'd1;
                end
                if (last_of_group) begin
                    group_base <= next_run;
                    tiles_left <= tiles_left - 32'd4;
                    active <= tiles_left > 32'd4;
                end
            end
        end else if (valid && ready) valid <= 0;
    end
endmodule
`default_nettype wire
