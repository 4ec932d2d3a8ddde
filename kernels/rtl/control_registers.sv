// SPDX-License-Identifier: Apache-2.0
// AXI4-Lite registers of the kernel, as XRT's ap_ctrl_hs protocol wants them (UG1393, "Kernel Execution Modes"):
//
//   0x00  control: bit 0 start (set by the host, falls when the kernel is ready), bit 1 done (falls when read),
//         bit 2 idle, bit 3 ready (falls when read)
//   0x04  bit 0: interrupts on      0x08  bit 0: on done, bit 1: on ready      0x0c  pending, write 1 to turn
//   0x10  weight (64 bits)   0x18  act (64 bits)   0x20  result (64 bits)   0x28  rows   0x2c  cols
//   0x30  status of the last run, read only (sluice_matvec_int4.sv)
//
// One transfer at a time in each direction; the interconnect waits.
`default_nettype none
module control_registers (
    input  wire         clk,
    input  wire         rst,
    input  wire         awvalid,
    output wire         awready,
    input  wire  [5:2]  awaddr, // a word's
    input  wire         wvalid,
    output wire         wready,
    input  wire  [31:0] wdata,
    input  wire  [3:0]  wstrb,
    output logic        bvalid,
    input  wire         bready,
    input  wire         arvalid,
    output wire         arready,
    input  wire  [5:2]  araddr,
    output logic        rvalid,
    input  wire         rready,
    output logic [31:0] rdata,
    output wire         interrupt,
    output logic        start, // one cycle
    input  wire         done,  // one cycle
    input  wire  [31:0] status,
    output wire  [63:0] weight,
    output wire  [63:0] act,
    output wire  [63:0] result,
    output wire  [31:0] rows,
    output wire  [31:0] cols
);
    logic starting, running, done_seen, ready_seen, interrupts_on;
    logic [1:0] interrupt_enable, interrupt_pending;
    logic [255:0] arguments; // 0x10..0x2f
    assign weight = arguments[63:0];
    assign act = arguments[127:64];
    assign result = arguments[191:128];
    assign rows = arguments[223:192];
    assign cols = arguments[255:224];
    assign interrupt = interrupts_on && interrupt_pending != 0;

    wire write = awvalid && wvalid && !bvalid;
    wire read = arvalid && !rvalid;
    wire [3:0] write_word = awaddr, read_word = araddr;
    wire [2:0] write_argument = write_word[2:0] - 3'd4, read_argument = read_word[2:0] - 3'd4;
    wire write_low = write && wstrb[0];
    assign awready = write;
    assign wready = write;
    assign arready = read;

    always_ff @(posedge clk) begin
        start <= 0;
        if (rst) begin
            starting <= 0;
            running <= 0;
            done_seen <= 0;
            ready_seen <= 0;
            interrupts_on <= 0;
            interrupt_enable <= 0;
            interrupt_pending <= 0;
            arguments <= 0;
            bvalid <= 0;
            rvalid <= 0;
            rdata <= 0;
        end else begin
            bvalid <= write || (bvalid && !bready);
            rvalid <= read || (rvalid && !rready);
            if (read) begin
                case (read_word)
                    4'h0: rdata <= {28'd0, ready_seen, !running && !starting, done_seen, starting};
                    4'h1: rdata <= {31'd0, interrupts_on};
                    4'h2: rdata <= {30'd0, interrupt_enable};
                    4'h3: rdata <= {30'd0, interrupt_pending};
                    4'hc: rdata <= status;
                    4'hd, 4'he, 4'hf: rdata <= 0;
                    default: rdata <= arguments[32 * read_argument +: 32];
                endcase
                if (read_word == 0) begin
                    done_seen <= 0;
                    ready_seen <= 0;
                end
            end
            if (write_low && write_word == 0 && wdata[0]) starting <= 1;
            if (write_low && write_word == 1) interrupts_on <= wdata[0];
            if (write_low && write_word == 2) interrupt_enable <= wdata[1:0];
            if (write_low && write_word == 3) interrupt_pending <= interrupt_pending ^ wdata[1:0];
            if (write && write_word >= 4 && write_word < 12)
                for (int i = 0; i < 4; i++)
                    if (wstrb[i]) arguments[32 * write_argument + 8 * i +: 8] <= wdata[8 * i +: 8];
            if (starting && !running) begin
                start <= 1;
                running <= 1;
            end
            if (done) begin
                running <= 0;
                starting <= 0;
                done_seen <= 1;
                ready_seen <= 1;
                interrupt_pending <= interrupt_pending | interrupt_enable;
            end
        end
    end
endmodule
`default_nettype wire
