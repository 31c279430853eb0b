/* The runtime of mho programs: loads an image, checks every byte of it, and runs it on a crossbar.

   No heap, no operating system, no math library. All memory is the caller's and static. After mho_load has accepted an
   image, nothing that runs can read or write outside of the image and the arena. */
#ifndef MHO_H
#define MHO_H

#include <stddef.h>
#include <stdint.h>

#include "mho_config.h"

typedef enum mho_status {
    MHO_OK = 0,
    MHO_E_TRUNCATED = 1, /* shorter than its header says */
    MHO_E_MAGIC = 2,     /* not an image */
    MHO_E_VERSION = 3,   /* of a later version than this runtime */
    MHO_E_CHECKSUM = 4,  /* damaged */
    MHO_E_TABLE = 5,     /* a table lies outside of the image, or has an impossible entry */
    MHO_E_CODE = 6,      /* an unknown instruction, or one of an impossible length */
    MHO_E_OPERAND = 7,   /* an operand of the wrong kind, or an impossible number */
    MHO_E_ADDRESS = 8,   /* an address that may leave its buffer or constant */
    MHO_E_CONFIG = 9,    /* needs more than mho_config.h provides */
    MHO_E_ARGUMENT = 10, /* a caller's argument: no such input, or a wrong length */
    MHO_E_STATE = 11,    /* run before it is loaded and started */
    MHO_E_NAN = 12,      /* a layer quantizes a number that is none */
    MHO_E_HARDWARE = 13, /* the hardware cannot do what is asked: see mho_hw_status */
    MHO_E_ENVIRONMENT = 14, /* floating point is not that of IEEE 754 */
    MHO_E_INDEX = 15        /* an index outside of its table */
} mho_status;

/* One entry of a table, decoded. */
typedef struct mho_program {
    const uint8_t *image;
    uint32_t size, regime, arena_bytes, crossbars, rows, cols, cell_bits, dac_bits, adc_bits;
    uint32_t buffers, constants, layers, inputs, outputs;
    uint32_t buffers_at, constants_at, layers_at, ports_at, code_at, code_words, names_at, names_bytes, blocks;
    uint64_t executed; /* instructions of one sample, at most 10^11 */
} mho_program;

typedef struct mho_machine {
    mho_program program;
    uint8_t *arena;
    uint32_t is_loaded, is_started;
    uint32_t variables[MHO_MAX_LOOPS];
    int16_t drives[MHO_MAX_ROWS];
} mho_machine;

#ifdef __cplusplus
extern "C" {
#endif

/* Check an image and get ready to run it; the image stays where it is. Call once. */
mho_status mho_load(mho_machine *machine, const void *image, size_t size);

/* Open the hardware, and write the weights that stay. `arena`: at least program.arena_bytes bytes. */
mho_status mho_start(mho_machine *machine, void *arena, size_t arena_bytes);

/* Set input `number` of one sample: float32, row-major, as many as the input has. */
mho_status mho_set_input(mho_machine *machine, uint32_t number, const float *values, size_t count);

/* Run one sample. Inputs are used up: set all of them before each run. */
mho_status mho_run(mho_machine *machine);

/* Get output `number` of the last sample. */
mho_status mho_get_output(const mho_machine *machine, uint32_t number, float *values, size_t count);

/* How many elements an input or output has; 0 where there is none of this number. */
uint32_t mho_input_size(const mho_machine *machine, uint32_t number);
uint32_t mho_output_size(const mho_machine *machine, uint32_t number);

/* The name of an input, output or layer; "" where there is none. */
const char *mho_input_name(const mho_machine *machine, uint32_t number);
const char *mho_output_name(const mho_machine *machine, uint32_t number);
const char *mho_layer_name(const mho_machine *machine, uint32_t number);

/* A code in words. */
const char *mho_status_text(mho_status status);

#ifdef __cplusplus
}
#endif

#endif
