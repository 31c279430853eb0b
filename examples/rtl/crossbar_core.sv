// A small crossbar core: cells, drivers of rows, ADCs that clip; shift_add adds up what it reads.
//
// A read drives all rows with one bit of their drives a cycle, least significant first, and adds what the columns
// count with the weight of the bit: DRIVE_BITS cycles. Where DRIVE_SIGNED is 1, drives are two's complement, and the
// last bit counts negatively: a voltage of the other polarity. Then ADCs clip the counts to ADC_BITS.
module crossbar_core #(
    parameter int ROWS = 8,
    parameter int COLS = 8,
    parameter int CELL_BITS = 2,
    parameter int DRIVE_BITS = 1,
    parameter int DRIVE_SIGNED = 0,
    parameter int COUNT_BITS = 32,
    parameter int ADC_BITS = 8
) (
    input  logic                          clock,
    input  logic                          reset,
    input  logic                          write,        // takes one row of cells
    input  logic [31:0]                   write_row,
    input  logic [COLS*CELL_BITS-1:0]     write_cells,  // column 0 in the lowest bits, as everywhere
    input  logic                          start,        // takes the drives, and begins a read
    input  logic [ROWS*DRIVE_BITS-1:0]    drives,
    output logic                          done,         // for one cycle: counts and codes are there
    output logic [COLS*COUNT_BITS-1:0]    counts,
    output logic [COLS*COUNT_BITS-1:0]    codes         // clipped, with their sign
);
    // Codes are those of the sign of counts: 0 .. 2^ADC_BITS - 1, or -2^(ADC_BITS - 1) .. 2^(ADC_BITS - 1) - 1.
    localparam logic signed [COUNT_BITS-1:0] HIGHEST = (COUNT_BITS'(1) << (ADC_BITS - DRIVE_SIGNED)) - COUNT_BITS'(1);
    localparam logic signed [COUNT_BITS-1:0] LOWEST = (DRIVE_SIGNED != 0) ? -HIGHEST - COUNT_BITS'(1) : '0;

    logic [COLS*CELL_BITS-1:0]      cells [ROWS];
    logic [ROWS*DRIVE_BITS-1:0]     held;
    logic [31:0]                    step;
    logic                           busy;
    logic signed [COUNT_BITS-1:0]   partials [COLS];
    logic signed [COUNT_BITS-1:0]   totals [COLS];

    // The array: what each column counts of the rows that this bit drives.
    always_comb begin
        for (int col = 0; col < COLS; col++) begin
            partials[col] = '0;
            for (int row = 0; row < ROWS; row++)
                if (held[row * DRIVE_BITS + int'(step)])
                    partials[col] = partials[col] + COUNT_BITS'(cells[row][col * CELL_BITS +: CELL_BITS]);
        end
    end

    always_ff @(posedge clock) begin
        done <= 1'b0;
        if (reset) begin
            busy <= 1'b0;
            step <= 32'd0;
        end else if (write) begin
            cells[write_row] <= write_cells;
        end else if (start) begin
            held <= drives;
            step <= 32'd0;
            busy <= 1'b1;
            for (int col = 0; col < COLS; col++) totals[col] <= '0;
        end else if (busy) begin
            for (int col = 0; col < COLS; col++)
                if (DRIVE_SIGNED != 0 && step == DRIVE_BITS - 1) totals[col] <= totals[col] - (partials[col] <<< step);
                else totals[col] <= totals[col] + (partials[col] <<< step);
            step <= (step == DRIVE_BITS - 1) ? 32'd0 : step + 32'd1;
            busy <= step != DRIVE_BITS - 1;
            done <= step == DRIVE_BITS - 1;
        end
    end

    // The ADCs.
    always_comb begin
        for (int col = 0; col < COLS; col++) begin
            counts[col * COUNT_BITS +: COUNT_BITS] = totals[col];
            if (totals[col] > HIGHEST) codes[col * COUNT_BITS +: COUNT_BITS] = HIGHEST;
            else if (totals[col] < LOWEST) codes[col * COUNT_BITS +: COUNT_BITS] = LOWEST;
            else codes[col * COUNT_BITS +: COUNT_BITS] = totals[col];
        end
    end
endmodule

// What the digital unit adds to each column's sum: all codes of columns with the same address, weighted and shifted.
module shift_add #(
    parameter int COLS = 8,
    parameter int COUNT_BITS = 32,
    parameter int WEIGHT_BITS = 32,
    parameter int SUM_BITS = 64
) (
    input  logic [31:0]                   shift,
    input  logic [COLS*COUNT_BITS-1:0]    codes,
    input  logic [COLS*WEIGHT_BITS-1:0]   weights,
    input  logic [COLS*32-1:0]            addresses,  // all ones: the column is left out
    input  logic [COLS*SUM_BITS-1:0]      starts,
    output logic [COLS*SUM_BITS-1:0]      sums
);
    logic signed [SUM_BITS-1:0] terms [COLS];
    logic signed [SUM_BITS-1:0] totals [COLS];

    always_comb begin
        for (int col = 0; col < COLS; col++)
            terms[col] = (SUM_BITS'($signed(weights[col * WEIGHT_BITS +: WEIGHT_BITS]))
                          * SUM_BITS'($signed(codes[col * COUNT_BITS +: COUNT_BITS]))) <<< shift;
        for (int col = 0; col < COLS; col++) begin
            totals[col] = starts[col * SUM_BITS +: SUM_BITS];
            for (int other = 0; other < COLS; other++)
                if (addresses[col * 32 +: 32] != '1 && addresses[other * 32 +: 32] == addresses[col * 32 +: 32])
                    totals[col] = totals[col] + terms[other];
            sums[col * SUM_BITS +: SUM_BITS] = totals[col];
        end
    end
endmodule
