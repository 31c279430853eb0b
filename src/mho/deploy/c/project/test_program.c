/* Runs the stored samples and compares every bit of the outputs with those of mho's executor. */
#include <stdio.h>
#include <string.h>

#include "mho.h"
#include "mho_program.h"
#include "vectors.h"

static mho_machine machine;
static uint64_t arena[(MHO_ARENA_BYTES + 7) / 8];

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return value != value ? 0x7fc00000U : bits; /* every NaN is the same */
}

static float values[MHO_LARGEST_PORT];

static int fail(const char *what, mho_status status) {
    printf("%s: error %d, %s\n", what, (int)status, mho_status_text(status));
    return 1;
}

int main(void) {
    uint32_t sample, port, i, wrong = 0;
    const uint32_t *input = mho_test_inputs, *expected = mho_test_outputs;
    mho_status status = mho_load(&machine, mho_program_image, MHO_IMAGE_BYTES);
    if (status != MHO_OK) {
        return fail("load", status);
    }
    status = mho_start(&machine, arena, sizeof arena);
    if (status != MHO_OK) {
        return fail("start", status);
    }
    for (sample = 0; sample < MHO_TEST_SAMPLES; sample++) {
        for (port = 0; port < machine.program.inputs; port++) {
            const uint32_t count = mho_input_size(&machine, port);
            for (i = 0; i < count; i++) {
                values[i] = float_of(*input++);
            }
            status = mho_set_input(&machine, port, values, count);
            if (status != MHO_OK) {
                return fail("input", status);
            }
        }
        status = mho_run(&machine);
        if (status != MHO_OK) {
            return fail("run", status);
        }
        for (port = 0; port < machine.program.outputs; port++) {
            const uint32_t count = mho_output_size(&machine, port);
            status = mho_get_output(&machine, port, values, count);
            if (status != MHO_OK) {
                return fail("output", status);
            }
            for (i = 0; i < count; i++) {
                const uint32_t found = bits_of(values[i]), right = *expected++;
                if (found != right && wrong++ < 10) {
                    printf("sample %lu, output %s[%lu]: %08lx instead of %08lx\n", (unsigned long)sample,
                           mho_output_name(&machine, port), (unsigned long)i, (unsigned long)found,
                           (unsigned long)right);
                }
            }
        }
    }
    if (wrong > 0) {
        printf("%lu numbers differ\n", (unsigned long)wrong);
        return 1;
    }
    printf("%lu samples: every bit of the outputs is that of the executor\n", (unsigned long)MHO_TEST_SAMPLES);
    return 0;
}
