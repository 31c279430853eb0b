/* Prints the processor time of one sample of a deployed program in seconds, the least of as many runs as it is given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mho.h"
#include "mho_config.h"
#include "mho_program.h"
#include "vectors.h"

static mho_machine machine;
static uint64_t arena[(MHO_ARENA_BYTES + 7) / 8];
static float values[MHO_LARGEST_PORT];

/* Run the first sample; 0 where that worked. */
static int run(void) {
    const uint32_t *next = mho_test_inputs;
    uint32_t port;
    for (port = 0; port < machine.program.inputs; port++) {
        const uint32_t size = mho_input_size(&machine, port);
        memcpy(values, next, size * sizeof *values);
        next += size;
        if (mho_set_input(&machine, port, values, size) != MHO_OK) {
            return 1;
        }
    }
    return mho_run(&machine) != MHO_OK;
}

int main(int count, char **arguments) {
    const long runs = count > 1 ? strtol(arguments[1], NULL, 10) : 1;
    double least = 1e9;
    long turn;
    if (mho_load(&machine, mho_program_image, MHO_IMAGE_BYTES) || mho_start(&machine, arena, sizeof arena)) {
        return 1;
    }
    for (turn = 0; turn < runs; turn++) {
        const clock_t start = clock();
        double taken;
        if (run()) {
            return 1;
        }
        taken = (double)(clock() - start) / CLOCKS_PER_SEC;
        least = taken < least ? taken : least;
    }
    printf("%.9f\n", least);
    return 0;
}
