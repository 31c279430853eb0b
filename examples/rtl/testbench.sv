// Plays a folder of `mho vectors` against the core: +vectors=DIR, with DIR on the include path for its parameters.
//
// Every count, code and sum is compared. The first differences are printed, with a fatal error at the end.
module testbench;
    `include "parameters.svh"

    localparam int CORE_BITS = 32;  // of counts in the core; those of the vectors have fewer
    localparam int MOST_PRINTED = 10;

    logic clock = 1'b0, reset = 1'b1, write = 1'b0, start = 1'b0;
    logic done;
    logic [31:0] write_row = '0, shift = '0;
    logic [COLS*CELL_BITS-1:0] write_cells = '0;
    logic [ROWS*DRIVE_BITS-1:0] drive_lines = '0;
    logic [COLS*CORE_BITS-1:0] counts, codes;
    logic [COLS*WEIGHT_BITS-1:0] weight_lines = '0;
    logic [COLS*32-1:0] address_lines = '1;
    logic [COLS*SUM_BITS-1:0] start_lines = '0, sums;

    crossbar_core #(
        .ROWS(ROWS), .COLS(COLS), .CELL_BITS(CELL_BITS), .DRIVE_BITS(DRIVE_BITS), .DRIVE_SIGNED(DRIVE_SIGNED),
        .COUNT_BITS(CORE_BITS), .ADC_BITS(ADC_BITS)
    ) core (
        .clock(clock), .reset(reset), .write(write), .write_row(write_row), .write_cells(write_cells), .start(start),
        .drives(drive_lines), .done(done), .counts(counts), .codes(codes)
    );
    shift_add #(.COLS(COLS), .COUNT_BITS(CORE_BITS), .WEIGHT_BITS(WEIGHT_BITS), .SUM_BITS(SUM_BITS)) adder (
        .shift(shift), .codes(codes), .weights(weight_lines), .addresses(address_lines), .starts(start_lines), .sums(sums)
    );

    logic [CELL_BITS-1:0]   cells_of [WRITES*ROWS*COLS];
    logic [31:0]            reads_of [READS*4];  // write, window, shift, crossbar
    logic [DRIVE_BITS-1:0]  drives_of [READS*ROWS];
    logic [COUNT_BITS-1:0]  counts_of [READS*COLS];
    logic [ADC_BITS-1:0]    codes_of [READS*COLS];
    logic [WEIGHT_BITS-1:0] weights_of [READS*COLS];
    logic [31:0]            addresses_of [READS*COLS];
    logic [SUM_BITS-1:0]    starts_of [READS*COLS];
    logic [SUM_BITS-1:0]    sums_of [READS*COLS];

    string folder;
    int errors = 0, held = -1;

    task automatic tick;
        #5 clock = 1'b1;
        #5 clock = 1'b0;
    endtask

    task automatic check(input string what, input int number, input int col, input longint found, input longint wanted);
        if (found != wanted) begin
            errors++;
            if (errors <= MOST_PRINTED)
                $display("read %0d, column %0d: %s %0d instead of %0d", number, col, what, found, wanted);
        end
    endtask

    task automatic check_column(input int number, input int col);
        automatic int place = number * COLS + col;
        if (addresses_of[place] != '1) begin  // else the column is left out, and not converted
            check("count", number, col, longint'($signed(counts[col * CORE_BITS +: CORE_BITS])),
                  DRIVE_SIGNED != 0 ? longint'($signed(counts_of[place])) : longint'(counts_of[place]));
            check("code", number, col, longint'($signed(codes[col * CORE_BITS +: CORE_BITS])),
                  CODE_SIGNED != 0 ? longint'($signed(codes_of[place])) : longint'(codes_of[place]));
            check("sum", number, col, longint'(sums[col * SUM_BITS +: SUM_BITS]), longint'(sums_of[place]));
        end
    endtask

    task automatic write_tile(input int number);
        for (int row = 0; row < ROWS; row++) begin
            write = 1'b1;
            write_row = row;
            for (int col = 0; col < COLS; col++)
                write_cells[col * CELL_BITS +: CELL_BITS] = cells_of[(number * ROWS + row) * COLS + col];
            tick;
        end
        write = 1'b0;
        held = number;
    endtask

    task automatic play(input int number);
        if (int'(reads_of[number * 4]) != held) write_tile(int'(reads_of[number * 4]));
        shift = reads_of[number * 4 + 2];
        for (int row = 0; row < ROWS; row++)
            drive_lines[row * DRIVE_BITS +: DRIVE_BITS] = drives_of[number * ROWS + row];
        for (int col = 0; col < COLS; col++) begin
            weight_lines[col * WEIGHT_BITS +: WEIGHT_BITS] = weights_of[number * COLS + col];
            address_lines[col * 32 +: 32] = addresses_of[number * COLS + col];
            start_lines[col * SUM_BITS +: SUM_BITS] = starts_of[number * COLS + col];
        end
        start = 1'b1;
        tick;
        start = 1'b0;
        while (!done) tick;
        for (int col = 0; col < COLS; col++) check_column(number, col);
    endtask

    initial begin
        if (!$value$plusargs("vectors=%s", folder)) $fatal(1, "+vectors=DIR is missing");
        if (CODE_SIGNED != DRIVE_SIGNED) $fatal(1, "columns are subtracted before the ADC, which this core does not do");
        $readmemh({folder, "/cells.hex"}, cells_of);
        $readmemh({folder, "/reads.hex"}, reads_of);
        $readmemh({folder, "/drives.hex"}, drives_of);
        $readmemh({folder, "/counts.hex"}, counts_of);
        $readmemh({folder, "/codes.hex"}, codes_of);
        $readmemh({folder, "/weights.hex"}, weights_of);
        $readmemh({folder, "/addresses.hex"}, addresses_of);
        $readmemh({folder, "/starts.hex"}, starts_of);
        $readmemh({folder, "/sums.hex"}, sums_of);
        tick;
        reset = 1'b0;
        for (int number = 0; number < READS; number++) play(number);
        if (errors != 0) $fatal(1, "%0d of %0d values differ", errors, 3 * READS * COLS);
        $display("%0d reads of %0d x %0d cells are as expected", READS, ROWS, COLS);
        $finish;
    end
endmodule
