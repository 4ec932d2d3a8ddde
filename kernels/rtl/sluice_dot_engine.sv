// SPDX-License-Identifier: Apache-2.0
// Matrix-vector product of an INT4 matrix in the card's tile layout with one quantized activation vector:
// result[r] = sum over groups g, in order, by fma(ws[r][g] * as[g], float(dot[r][g]), result[r]), bit for bit the
// contract's MATMUL of one token (kernels/README.md) with subnormals as zero.
//
// Streams of 64-byte words (AXI4-Stream: a word moves when valid and ready):
//   act      `blocks` words of int8 values (64 columns each), then their float32 scales, two a block, 16 a word.
//   weight   blocks of 9 words as card_layout.h has them, in rounds: block 0 of tiles 0..3, block 1 of tiles 0..3, and so
//            on to the last block; then tiles 4..7; the last round of tiles may have fewer than four.
//   result   16 float32 a tile, tiles in order.
//
// One word of weights per cycle, as long as they come and results are taken. A round of fewer than four tiles takes as
// long as one of four, less four cycles: 32. 1 <= blocks <= MAX_BLOCKS, 1 <= tiles; start is one cycle, seen when not
// busy; blocks and tiles stay until done, which is one cycle.
`default_nettype none
module sluice_dot_engine #(
    parameter int MAX_BLOCKS = 512
) (
    input  wire          clk,
    input  wire          rst,
    input  wire          start,
    input  wire   [15:0] blocks,
    input  wire   [31:0] tiles,
    output logic         busy,
    output logic         done,
    input  wire  [511:0] act_data,
    input  wire          act_valid,
    output wire          act_ready,
    input  wire  [511:0] weight_data,
    input  wire          weight_valid,
    output wire          weight_ready,
    output wire  [511:0] result_data,
    output wire          result_valid,
    output wire          result_last,
    input  wire          result_ready
);
    localparam int BITS = $clog2(MAX_BLOCKS);
    localparam int SUM_READ = 12, SUM_WRITE = 23; // cycles of a step, as in dot_lane.sv
    localparam int RESULTS = 8;                   // words of the result queue

    wire [BITS-1:0] last_block = BITS'(blocks - 16'd1);

    // ---- activations: 64 values a word; scales 16 a word ----
    (* ram_style = "block" *) logic [511:0] values[MAX_BLOCKS];
    (* ram_style = "distributed" *) logic [511:0] singles[MAX_BLOCKS / 8];
    logic loading, loading_singles, running;
    logic [BITS-1:0] load_at;
    wire act_taken = act_valid && act_ready;
    assign act_ready = loading;
    always_ff @(posedge clk) begin
        if (rst) begin
            loading <= 0;
            loading_singles <= 0;
            running <= 0;
        end else if (start && !busy) begin
            loading <= 1;
            running <= 0;
            loading_singles <= 0;
            load_at <= 0;
        end else if (act_taken) begin
            load_at <= load_at + 1'b1;
            if (!loading_singles && load_at == last_block) begin
                loading_singles <= 1;
                load_at <= 0;
            end
            if (loading_singles && load_at == last_block >> 3) begin
                loading <= 0;
                running <= 1;
            end
        end
        if (act_taken && !loading_singles) values[load_at] <= act_data;
        if (act_taken && loading_singles) singles[load_at[BITS-4:0]] <= act_data;
    end

    // ---- weights in: which word of which block of which tile comes next ----
    logic [BITS-1:0] in_block;
    logic [31:0] in_left; // tiles not begun before this group of tiles
    logic [1:0] in_tile, in_round;
    logic [3:0] in_word;
    logic [2:0] rounds_open; // begun and not yet read to the end
    wire [1:0] in_last_tile = in_left > 32'd4 ? 2'd3 : 2'(in_left - 32'd1);
    wire round_begin = in_tile == 0 && in_word == 0;
    wire round_end = in_tile == in_last_tile && in_word == 8;
    wire weight_taken = weight_valid && weight_ready;
    assign weight_ready = running && in_left != 0 && (!round_begin || rounds_open != 4);
    always_ff @(posedge clk) begin
        if (start && !busy) begin
            in_block <= 0;
            in_left <= tiles;
            in_tile <= 0;
            in_round <= 0;
            in_word <= 0;
        end else if (weight_taken) begin
            in_word <= in_word == 8 ? 4'd0 : in_word + 4'd1;
            if (in_word == 8) in_tile <= in_tile == in_last_tile ? 2'd0 : in_tile + 2'd1;
            if (round_end) begin
                in_round <= in_round + 2'd1;
                in_block <= in_block == last_block ? '0 : in_block + 1'b1;
                if (in_block == last_block) in_left <= in_left > 32'd4 ? in_left - 32'd4 : 32'd0;
            end
        end
    end

    // ---- integer dot products. The values of a block are there two cycles after its first word (its scales). ----
    logic [511:0] value_word, value_line;
    logic [63:0] value;
    logic [2:0] value_at;
    wire [2:0] in_part = in_word[2:0] - 3'd1; // {group, word of the group}
    wire [255:0] dot;
    wire dot_valid;
    always_ff @(posedge clk) begin
        value_word <= values[in_block];
        value_line <= value_word;
        value_at <= in_part;
    end
    assign value = value_line[64 * value_at +: 64];
    dot_rows rows (
        .clk(clk), .rst(rst), .valid(weight_taken && in_word != 0), .first(in_part[1:0] == 0),
        .last(in_part[1:0] == 3), .word(weight_data), .value(value), .dot_valid(dot_valid), .dot(dot));

    // {last group of the round, round, group, tile} of the dot products, as long as these take.
    localparam int DOT_CYCLES = 9, TAG = 6;
    logic [TAG * DOT_CYCLES - 1:0] dot_tags;
    always_ff @(posedge clk)
        dot_tags <= {dot_tags[TAG * (DOT_CYCLES - 1) - 1:0], {round_end, in_round, in_part[2], in_tile}};

    // ---- a group's 16 dot products go to the lanes by fours, row 4 k + lane in step k; so do a block's 32 scales ----
    logic [255:0] dot_hold;
    logic [TAG-1:0] dot_tag;
    logic [511:0] half_hold;
    logic [3:0] half_tag; // {round, tile}
    logic dot_draining, half_draining;
    logic [1:0] dot_step;
    logic [2:0] half_step; // {group, step}
    wire round_full = dot_draining && dot_step == 3 && dot_tag[5];
    always_ff @(posedge clk) begin
        dot_hold <= dot_valid ? dot : dot_hold >> 64;
        dot_step <= dot_valid ? 2'd0 : dot_step + 2'd1;
        if (dot_valid) dot_tag <= dot_tags[TAG * DOT_CYCLES - 1 -: TAG];
        if (rst) dot_draining <= 0;
        else if (dot_valid) dot_draining <= 1;
        else if (dot_step == 3) dot_draining <= 0;

        if (weight_taken && in_word == 0) begin
            half_hold <= weight_data;
            half_tag <= {in_round, in_tile};
            half_step <= 0;
        end else begin
            half_hold <= half_hold >> 64;
            half_step <= half_step + 3'd1;
        end
        if (rst) half_draining <= 0;
        else if (weight_taken && in_word == 0) half_draining <= 1;
        else if (half_step == 7) half_draining <= 0;
    end

    // ---- rounds out: 32 steps each, {group, tile, step}; the last round of a tile waits for room for its results ----
    logic [BITS-1:0] out_block;
    logic [31:0] out_left;
    logic [2:0] rounds_full;
    logic [1:0] out_round, now_round, now_last_tile;
    logic stepping, now_first, now_last;
    logic [4:0] step;
    logic [63:0] singles_pair, now_singles;
    logic [511:0] singles_line;
    logic [3:0] results_promised; // words in the queue or on their way there
    wire result_taken = result_valid && result_ready;
    wire [2:0] out_tiles = out_left > 32'd4 ? 3'd4 : out_left[2:0];
    wire out_last = out_block == last_block;
    wire round_read = stepping && step == 31;
    wire round_start = rounds_full != 0 && (!stepping || round_read)
        && (!out_last || results_promised <= 4'(RESULTS - 4));
    always_ff @(posedge clk) begin
        singles_line <= singles[out_block[BITS-1:3]];
        singles_pair <= singles_line[64 * out_block[2:0] +: 64];
        step <= round_start ? 5'd0 : step + 5'd1;
        if (round_start) begin
            now_round <= out_round;
            now_first <= out_block == 0;
            now_last <= out_last;
            now_last_tile <= 2'(out_tiles - 3'd1);
            now_singles <= singles_pair;
        end
        if (rst || (start && !busy)) begin
            stepping <= 0;
            rounds_open <= 0;
            rounds_full <= 0;
            results_promised <= 0;
            out_block <= 0;
            out_round <= 0;
            out_left <= tiles;
        end else begin
            stepping <= round_start || (stepping && !round_read);
            rounds_open <= rounds_open + 3'(weight_taken && round_begin) - 3'(round_read);
            rounds_full <= rounds_full + 3'(round_full) - 3'(round_start);
            results_promised <= results_promised + (round_start && out_last ? 4'(out_tiles) : 4'd0) - 4'(result_taken);
            if (round_start) begin
                out_round <= out_round + 2'd1;
                out_block <= out_last ? '0 : out_block + 1'b1;
                if (out_last) out_left <= out_left - 32'(out_tiles);
            end
        end
    end

    // {first, a step, result wanted, tile, row step} of each cycle, from cycle 0 on.
    localparam int STEP = 7;
    logic [STEP * SUM_WRITE - 1:0] step_tags;
    wire [STEP-1:0] step_tag = {now_first && !step[4], stepping,
                                stepping && now_last && step[4] && step[3:2] <= now_last_tile, step[3:0]};
    always_ff @(posedge clk) step_tags <= {step_tags[STEP * (SUM_WRITE - 1) - 1:0], step_tag};
    wire [3:0] read_tag = step_tags[STEP * (SUM_READ - 1) +: 4];
    wire read_first = step_tags[STEP * SUM_READ - 1];
    wire [5:0] write_tag = step_tags[STEP * (SUM_WRITE - 1) +: 6];

    wire [127:0] sums;
    genvar l;
    generate
        for (l = 0; l < 4; l = l + 1) begin : lane
            dot_lane unit (
                .clk(clk),
                .write_half(half_draining),
                .half_address({half_tag[3:2], half_step[2], half_tag[1:0], half_step[1:0]}),
                .half(half_hold[16 * l +: 16]),
                .write_dot(dot_draining),
                .dot_address({dot_tag[4:3], dot_tag[2], dot_tag[1:0], dot_step}),
                .dot(dot_hold[16 * l +: 16]),
                .step_address({now_round, step}),
                .single(step[4] ? now_singles[63:32] : now_singles[31:0]),
                .read_sum(read_tag), .read_first(read_first), .write_enable(write_tag[5]),
                .write_sum(write_tag[3:0]),
                .sum(sums[32 * l +: 32]));
        end
    endgenerate

    // ---- results: four steps make a tile's word ----
    (* ram_style = "distributed" *) logic [511:0] queue[RESULTS];
    logic [383:0] gathered;
    logic [3:0] queue_in, queue_out; // one bit more than the index
    logic [31:0] results_left;
    wire result_made = write_tag[4] && write_tag[1:0] == 3;
    assign result_data = queue[queue_out[2:0]];
    assign result_valid = queue_in != queue_out;
    assign result_last = results_left == 1;
    always_ff @(posedge clk) begin
        gathered <= {sums, gathered[383:128]};
        if (result_made) queue[queue_in[2:0]] <= {sums, gathered};
        done <= !rst && busy && result_taken && result_last;
        if (rst) begin
            busy <= 0;
            queue_in <= 0;
            queue_out <= 0;
        end else begin
            if (start && !busy) begin
                busy <= 1;
                results_left <= tiles;
            end else if (result_taken) begin
                results_left <= results_left - 32'd1;
                if (result_last) busy <= 0;
            end
            queue_in <= queue_in + 4'(result_made);
            queue_out <= queue_out + 4'(result_taken);
        end
    end
endmodule
`default_nettype wire
