// SPDX-License-Identifier: Apache-2.0
// RTL kernel for Vitis (ap_ctrl_hs): result f32[rows] = matrix(rows, cols) in INT4 at weight x act[1][cols] at act, bit
// for bit the contract's MATMUL of one token, with subnormals as zero, without bias or add. One AXI4 master of 512 bits reads both operands and
// writes the result; weights come in bursts of whole blocks, one beat a clock.
//
// Arguments and registers: control_registers.sv. Bytes: kernels/abi/card_layout.h. Status after a run:
//   0  done                      1  rows or cols is 0, or cols is above 64 * MAX_BLOCKS: nothing was read or written
//   2  an address is no multiple of 64: nothing was read or written
//   4  the memory answered a read or write with an error: the result is not to be used
`default_nettype none
module sluice_matvec_int4 #(
    parameter int MAX_BLOCKS = 512
) (
    input  wire          ap_clk,
    input  wire          ap_rst_n,
    output wire          interrupt,

    input  wire          s_axi_control_awvalid,
    output wire          s_axi_control_awready,
    input  wire  [5:0]   s_axi_control_awaddr,
    input  wire          s_axi_control_wvalid,
    output wire          s_axi_control_wready,
    input  wire  [31:0]  s_axi_control_wdata,
    input  wire  [3:0]   s_axi_control_wstrb,
    output wire          s_axi_control_bvalid,
    input  wire          s_axi_control_bready,
    output wire  [1:0]   s_axi_control_bresp,
    input  wire          s_axi_control_arvalid,
    output wire          s_axi_control_arready,
    input  wire  [5:0]   s_axi_control_araddr,
    output wire          s_axi_control_rvalid,
    input  wire          s_axi_control_rready,
    output wire  [31:0]  s_axi_control_rdata,
    output wire  [1:0]   s_axi_control_rresp,

    output wire          m_axi_gmem_awvalid,
    input  wire          m_axi_gmem_awready,
    output wire  [63:0]  m_axi_gmem_awaddr,
    output wire  [7:0]   m_axi_gmem_awlen,
    output wire  [2:0]   m_axi_gmem_awsize,
    output wire  [1:0]   m_axi_gmem_awburst,
    output wire          m_axi_gmem_wvalid,
    input  wire          m_axi_gmem_wready,
    output wire  [511:0] m_axi_gmem_wdata,
    output wire  [63:0]  m_axi_gmem_wstrb,
    output wire          m_axi_gmem_wlast,
    input  wire          m_axi_gmem_bvalid,
    output wire          m_axi_gmem_bready,
    input  wire  [1:0]   m_axi_gmem_bresp,
    output wire          m_axi_gmem_arvalid,
    input  wire          m_axi_gmem_arready,
    output wire  [63:0]  m_axi_gmem_araddr,
    output wire  [7:0]   m_axi_gmem_arlen,
    output wire  [2:0]   m_axi_gmem_arsize,
    output wire  [1:0]   m_axi_gmem_arburst,
    input  wire          m_axi_gmem_rvalid,
    output wire          m_axi_gmem_rready,
    input  wire  [511:0] m_axi_gmem_rdata,
    input  wire          m_axi_gmem_rlast,
    input  wire  [1:0]   m_axi_gmem_rresp
);
    localparam logic [31:0] BAD_SHAPE = 1, BAD_ADDRESS = 2, MEMORY_ERROR = 4;

    // Reset by registers, as it comes from far away.
    logic [2:0] reset_pipe;
    always_ff @(posedge ap_clk) reset_pipe <= {reset_pipe[1:0], !ap_rst_n};
    wire rst = reset_pipe[2];

    wire start;
    wire [63:0] weight, act, result;
    wire [31:0] rows, cols;
    logic done;
    logic [31:0] status;
    control_registers control (
        .clk(ap_clk), .rst(rst), .awvalid(s_axi_control_awvalid), .awready(s_axi_control_awready),
        .awaddr(s_axi_control_awaddr[5:2]), .wvalid(s_axi_control_wvalid), .wready(s_axi_control_wready),
        .wdata(s_axi_control_wdata), .wstrb(s_axi_control_wstrb), .bvalid(s_axi_control_bvalid),
        .bready(s_axi_control_bready), .arvalid(s_axi_control_arvalid), .arready(s_axi_control_arready),
        .araddr(s_axi_control_araddr[5:2]), .rvalid(s_axi_control_rvalid), .rready(s_axi_control_rready),
        .rdata(s_axi_control_rdata), .interrupt(interrupt), .start(start), .done(done), .status(status),
        .weight(weight), .act(act), .result(result), .rows(rows), .cols(cols));
    assign s_axi_control_bresp = 2'b00;
    assign s_axi_control_rresp = 2'b00;

    // ---- a run: check, then let the parts work until every result is acknowledged ----
    logic checking, active, go;
    logic [31:0] tiles, writes_left;
    logic [15:0] blocks, act_words;
    wire bad_shape = rows == 0 || cols == 0 || cols > 32'(64 * MAX_BLOCKS) || rows > 32'hfffffff0;
    wire bad_address = weight[5:0] != 0 || act[5:0] != 0 || result[5:0] != 0;
    wire read_taken = m_axi_gmem_rvalid && m_axi_gmem_rready;
    wire write_answered = m_axi_gmem_bvalid && m_axi_gmem_bready;
    always_ff @(posedge ap_clk) begin
        go <= 0;
        done <= 0;
        checking <= !rst && start;
        blocks <= 16'((cols + 32'd63) >> 6);
        act_words <= blocks + ((blocks + 16'd7) >> 3);
        tiles <= (rows + 32'd15) >> 4;
        if (rst) begin
            active <= 0;
            status <= 0;
        end else if (checking && (bad_shape || bad_address)) begin
            status <= bad_shape ? BAD_SHAPE : BAD_ADDRESS;
            done <= 1;
        end else if (checking) begin
            status <= 0;
            active <= 1;
            go <= 1;
            writes_left <= tiles;
        end else if (active) begin
            if ((read_taken && m_axi_gmem_rresp[1]) || (write_answered && m_axi_gmem_bresp[1])) status <= MEMORY_ERROR;
            if (write_answered) begin
                writes_left <= writes_left - 32'd1;
                if (writes_left == 1) begin
                    active <= 0;
                    done <= 1;
                end
            end
        end
    end

    // ---- reads: one id, so the words come in the order in which they were asked for ----
    burst_addresses addresses (
        .clk(ap_clk), .rst(rst), .start(go), .act(act), .act_words(act_words), .weight(weight), .blocks(blocks),
        .tiles(tiles), .valid(m_axi_gmem_arvalid), .address(m_axi_gmem_araddr), .beats_less_one(m_axi_gmem_arlen),
        .ready(m_axi_gmem_arready));
    assign m_axi_gmem_arsize = 3'd6;
    assign m_axi_gmem_arburst = 2'b01;
    logic [15:0] act_left;
    wire act_ready, weight_ready;
    wire to_act = act_left != 0;
    always_ff @(posedge ap_clk)
        if (go) act_left <= act_words;
        else if (read_taken && to_act) act_left <= act_left - 16'd1;
    assign m_axi_gmem_rready = to_act ? act_ready : weight_ready;

    wire [511:0] result_data;
    wire result_valid, result_last, result_ready, engine_busy, engine_done;
    sluice_dot_engine #(.MAX_BLOCKS(MAX_BLOCKS)) engine (
        .clk(ap_clk), .rst(rst), .start(go), .blocks(blocks), .tiles(tiles), .busy(engine_busy), .done(engine_done),
        .act_data(m_axi_gmem_rdata), .act_valid(m_axi_gmem_rvalid && to_act), .act_ready(act_ready),
        .weight_data(m_axi_gmem_rdata), .weight_valid(m_axi_gmem_rvalid && !to_act), .weight_ready(weight_ready),
        .result_data(result_data), .result_valid(result_valid), .result_last(result_last),
        .result_ready(result_ready));

    // ---- writes: a beat a tile; address and data go at their own pace ----
    logic address_sent, data_sent;
    logic [63:0] write_at;
    wire address_taken = m_axi_gmem_awvalid && m_axi_gmem_awready;
    wire data_taken = m_axi_gmem_wvalid && m_axi_gmem_wready;
    wire [4:0] rows_of_last = rows[3:0] == 0 ? 5'd16 : {1'b0, rows[3:0]};
    assign m_axi_gmem_awvalid = result_valid && !address_sent;
    assign m_axi_gmem_awaddr = write_at;
    assign m_axi_gmem_awlen = 8'd0;
    assign m_axi_gmem_awsize = 3'd6;
    assign m_axi_gmem_awburst = 2'b01;
    assign m_axi_gmem_wvalid = result_valid && !data_sent;
    assign m_axi_gmem_wdata = result_data;
    assign m_axi_gmem_wstrb = result_last ? ~(~64'd0 << {rows_of_last, 2'd0}) : ~64'd0;
    assign m_axi_gmem_wlast = 1'b1;
    assign m_axi_gmem_bready = 1'b1;
    assign result_ready = (address_taken || address_sent) && (data_taken || data_sent);
    always_ff @(posedge ap_clk) begin
        if (rst || result_ready) begin
            address_sent <= 0;
            data_sent <= 0;
        end else begin
            if (address_taken) address_sent <= 1;
            if (data_taken) data_sent <= 1;
        end
        if (go) write_at <= result;
        else if (result_ready) write_at <= write_at + 64'd64;
    end

    wire unused = &{1'b0, engine_busy, engine_done, s_axi_control_awaddr[1:0], s_axi_control_araddr[1:0],
        m_axi_gmem_rlast, m_axi_gmem_rresp[0], m_axi_gmem_bresp[0]};
endmodule
`default_nettype wire
