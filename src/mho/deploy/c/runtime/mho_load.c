/* Takes an image apart: header, tables, names. Nothing is believed that was not checked. */
#include "mho_internal.h"

/* Bytes of the header and of an entry of each table (docs/isa.md). */
enum { HEADER_BYTES = 140, BUFFER_BYTES = 12, CONSTANT_BYTES = 20, LAYER_BYTES = 8, PORT_BYTES = 12 };
enum { MAJOR = 1, MINOR = 3, CHECKED_FROM = 20 };

static uint32_t crc32(const uint8_t *bytes, size_t count) {
    uint32_t table[16], crc = 0xffffffffU, i;
    size_t k;
    for (i = 0; i < 16; i++) { /* half a byte at a time: 64 bytes instead of 1,024 */
        uint32_t v = i, bit;
        for (bit = 0; bit < 4; bit++) {
            v = (v & 1U) ? (v >> 1) ^ 0xedb88320U : v >> 1;
        }
        table[i] = v;
    }
    for (k = 0; k < count; k++) {
        crc = table[(crc ^ bytes[k]) & 15U] ^ (crc >> 4);
        crc = table[(crc ^ (uint32_t)(bytes[k] >> 4)) & 15U] ^ (crc >> 4);
    }
    return ~crc;
}

uint32_t mho_element_bytes(uint32_t element) {
    static const uint8_t sizes[] = {4, 1, 1, 2, 2, 4, 8};
    return element < sizeof sizes ? sizes[element] : 0;
}

static int is_within(uint64_t start, uint64_t size, uint64_t end) { return start <= end && size <= end - start; }

static mho_status check_buffers(const mho_program *p) {
    uint32_t i;
    for (i = 0; i < p->buffers; i++) {
        const uint8_t *entry = p->image + p->buffers_at + (size_t)i * BUFFER_BYTES;
        const uint32_t bytes = mho_element_bytes(mho_get32(entry)), count = mho_get32(entry + 4);
        const uint32_t offset = mho_get32(entry + 8);
        if (bytes == 0 || count > 0x7fffffffU || offset % 8 != 0 ||
            !is_within(offset, (uint64_t)count * bytes, p->arena_bytes)) {
            return MHO_E_TABLE;
        }
    }
    return MHO_OK;
}

static mho_status check_constants(const mho_program *p) {
    uint32_t i;
    for (i = 0; i < p->constants; i++) {
        const uint8_t *entry = p->image + p->constants_at + (size_t)i * CONSTANT_BYTES;
        const uint32_t element = mho_get16(entry), is_uniform = mho_get16(entry + 2), count = mho_get32(entry + 4);
        const uint32_t rows = mho_get32(entry + 8), cols = mho_get32(entry + 12), at = mho_get32(entry + 16);
        uint64_t bytes = (uint64_t)mho_element_bytes(element) * (is_uniform ? 1U : count);
        if (element > MHO_B4 || is_uniform > 1 || count > 0x7fffffffU || (is_uniform && count == 0)) {
            return MHO_E_TABLE;
        }
        if (rows != 0) { /* cells */
            uint32_t bits = 8;
            if ((element < MHO_B1 && element != MHO_U8) || is_uniform || cols == 0 || rows > 0xffffU || cols > 0xffffU ||
                count % (rows * cols) != 0) {
                return MHO_E_TABLE;
            }
            if (element != MHO_U8) {
                bits = 1U << (element - MHO_B1);
            }
            bytes = (uint64_t)(count / (rows * cols)) * rows * (((uint64_t)cols * bits + 7) / 8);
        } else if (cols != 0 || element >= MHO_B1) {
            return MHO_E_TABLE;
        }
        if (!is_within(at, bytes, p->size)) {
            return MHO_E_TABLE;
        }
    }
    return MHO_OK;
}

static mho_status check_names(const mho_program *p) {
    uint32_t i;
    if (p->names_bytes > 0 && p->image[p->names_at + p->names_bytes - 1] != 0) {
        return MHO_E_TABLE;
    }
    for (i = 0; i < p->layers; i++) {
        if (mho_get32(p->image + p->layers_at + (size_t)i * LAYER_BYTES) >= p->names_bytes) {
            return MHO_E_TABLE;
        }
    }
    for (i = 0; i < p->inputs + p->outputs; i++) {
        const uint8_t *entry = p->image + p->ports_at + (size_t)i * PORT_BYTES, *buffer;
        const uint32_t number = mho_get32(entry + 4);
        if (mho_get32(entry) >= p->names_bytes || number >= p->buffers) {
            return MHO_E_TABLE;
        }
        buffer = p->image + p->buffers_at + (size_t)number * BUFFER_BYTES;
        if (mho_get32(buffer) != MHO_F32 || mho_get32(buffer + 4) != mho_get32(entry + 8)) {
            return MHO_E_TABLE;
        }
    }
    return MHO_OK;
}

static mho_status check_tables(const mho_program *p) {
    if (p->buffers > 0xffffffU || p->constants > 0xffffffU || p->layers > 0xffffffU || p->inputs > 0xffffU ||
        p->outputs > 0xffffU || p->arena_bytes > 0x7fffffffU || p->regime > 2) {
        return MHO_E_TABLE;
    }
    if (!is_within(p->buffers_at, (uint64_t)p->buffers * BUFFER_BYTES, p->size) ||
        !is_within(p->constants_at, (uint64_t)p->constants * CONSTANT_BYTES, p->size) ||
        !is_within(p->layers_at, (uint64_t)p->layers * LAYER_BYTES, p->size) ||
        !is_within(p->ports_at, (uint64_t)(p->inputs + p->outputs) * PORT_BYTES, p->size) ||
        !is_within(p->code_at, (uint64_t)p->code_words * 4, p->size) ||
        !is_within(p->names_at, p->names_bytes, p->size)) {
        return MHO_E_TABLE;
    }
    if (p->rows < 1 || p->cols < 1 || p->crossbars < 1 || p->cell_bits < 1 || p->cell_bits > 8 || p->dac_bits < 1 ||
        p->dac_bits > 15) {
        return MHO_E_TABLE;
    }
    if ((uint64_t)p->rows * ((1U << p->cell_bits) - 1U) * ((1U << p->dac_bits) - 1U) > 0x7fffffffU) {
        return MHO_E_TABLE; /* a count would not fit */
    }
    if (p->rows > MHO_MAX_ROWS || p->cols > MHO_MAX_COLS || p->crossbars > MHO_MAX_CROSSBARS ||
        p->blocks > MHO_MAX_BLOCKS || p->arena_bytes > MHO_ARENA_BYTES) {
        return MHO_E_CONFIG;
    }
    return MHO_OK;
}

static mho_status check_environment(void) {
    /* Round to nearest even, and keep numbers below the smallest normal one. */
    volatile float tiny = 1.1754943508222875e-38f, one = 1.0f, half_ulp = 5.9604644775390625e-8f;
    const float below = tiny * 0.5f, even = one + half_ulp;
    return below > 0.0f && even == 1.0f ? MHO_OK : MHO_E_ENVIRONMENT;
}

mho_status mho_load(mho_machine *machine, const void *image, size_t size) {
    static const uint8_t magic[8] = {'M', 'H', 'O', 'I', 'M', 'G', '\r', '\n'};
    mho_program *p = &machine->program;
    const uint8_t *bytes = (const uint8_t *)image;
    uint32_t *fields[22];
    uint32_t i;
    mho_status status;
    memset(machine, 0, sizeof *machine);
    if (size < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0) {
        return MHO_E_MAGIC;
    }
    if (size < HEADER_BYTES || size != mho_get32(bytes + 12) || size > 0x7fffffffU) {
        return MHO_E_TRUNCATED;
    }
    if (mho_get16(bytes + 8) != MAJOR || mho_get16(bytes + 10) > MINOR) {
        return MHO_E_VERSION;
    }
    if (crc32(bytes + CHECKED_FROM, size - CHECKED_FROM) != mho_get32(bytes + 16)) {
        return MHO_E_CHECKSUM;
    }
    p->image = bytes;
    p->size = (uint32_t)size;
    fields[0] = &p->regime, fields[1] = &p->arena_bytes, fields[2] = &p->crossbars, fields[3] = &p->rows;
    fields[4] = &p->cols, fields[5] = &p->cell_bits, fields[6] = &p->dac_bits, fields[7] = &p->adc_bits;
    fields[8] = &p->buffers, fields[9] = &p->constants, fields[10] = &p->layers, fields[11] = &p->inputs;
    fields[12] = &p->outputs, fields[13] = &p->buffers_at, fields[14] = &p->constants_at, fields[15] = &p->layers_at;
    fields[16] = &p->ports_at, fields[17] = &p->code_at, fields[18] = &p->code_words, fields[19] = &p->names_at;
    fields[20] = &p->names_bytes, fields[21] = &p->blocks;
    for (i = 0; i < 22; i++) {
        *fields[i] = mho_get32(bytes + 20 + (size_t)i * 4);
    }
    if ((status = check_environment()) != MHO_OK || (status = check_tables(p)) != MHO_OK ||
        (status = check_buffers(p)) != MHO_OK || (status = check_constants(p)) != MHO_OK ||
        (status = check_names(p)) != MHO_OK || (status = mho_check_code(machine)) != MHO_OK) {
        return status;
    }
    machine->is_loaded = 1;
    return MHO_OK;
}

mho_operand mho_find(const mho_machine *machine, uint32_t reference) {
    const mho_program *p = &machine->program;
    mho_operand found;
    memset(&found, 0, sizeof found);
    if (reference & MHO_CONSTANT) {
        const uint8_t *entry = p->image + p->constants_at + (size_t)(reference & ~MHO_CONSTANT) * CONSTANT_BYTES;
        found.element = mho_get16(entry);
        found.is_uniform = mho_get16(entry + 2);
        found.count = mho_get32(entry + 4);
        found.rows = mho_get32(entry + 8);
        found.cols = mho_get32(entry + 12);
        found.data = p->image + mho_get32(entry + 16);
    } else {
        const uint8_t *entry = p->image + p->buffers_at + (size_t)reference * BUFFER_BYTES;
        found.element = mho_get32(entry);
        found.count = mho_get32(entry + 4);
        if (machine->arena) {
            found.writable = machine->arena + mho_get32(entry + 8);
            found.data = found.writable;
        }
    }
    return found;
}

static const uint8_t *port(const mho_machine *machine, uint32_t number, uint32_t first, uint32_t count) {
    if (!machine->is_loaded || number >= count) {
        return NULL;
    }
    return machine->program.image + machine->program.ports_at + (size_t)(first + number) * PORT_BYTES;
}

static const uint8_t *input_port(const mho_machine *machine, uint32_t number) {
    return port(machine, number, 0, machine->program.inputs);
}

static const uint8_t *output_port(const mho_machine *machine, uint32_t number) {
    return port(machine, number, machine->program.inputs, machine->program.outputs);
}

static const char *name_at(const mho_machine *machine, const uint8_t *entry) {
    return entry ? (const char *)(machine->program.image + machine->program.names_at + mho_get32(entry)) : "";
}

uint32_t mho_input_size(const mho_machine *machine, uint32_t number) {
    const uint8_t *entry = input_port(machine, number);
    return entry ? mho_get32(entry + 8) : 0;
}

uint32_t mho_output_size(const mho_machine *machine, uint32_t number) {
    const uint8_t *entry = output_port(machine, number);
    return entry ? mho_get32(entry + 8) : 0;
}

const char *mho_input_name(const mho_machine *machine, uint32_t number) {
    return name_at(machine, input_port(machine, number));
}

const char *mho_output_name(const mho_machine *machine, uint32_t number) {
    return name_at(machine, output_port(machine, number));
}

const char *mho_layer_name(const mho_machine *machine, uint32_t number) {
    const mho_program *p = &machine->program;
    if (!machine->is_loaded || number >= p->layers) {
        return "";
    }
    return name_at(machine, p->image + p->layers_at + (size_t)number * LAYER_BYTES);
}

mho_status mho_set_input(mho_machine *machine, uint32_t number, const float *values, size_t count) {
    const uint8_t *entry = input_port(machine, number);
    if (!machine->is_started) {
        return MHO_E_STATE;
    }
    if (!entry || count != mho_get32(entry + 8)) {
        return MHO_E_ARGUMENT;
    }
    memcpy(mho_find(machine, mho_get32(entry + 4)).writable, values, count * sizeof *values);
    return MHO_OK;
}

mho_status mho_get_output(const mho_machine *machine, uint32_t number, float *values, size_t count) {
    const uint8_t *entry = output_port(machine, number);
    if (!machine->is_started) {
        return MHO_E_STATE;
    }
    if (!entry || count != mho_get32(entry + 8)) {
        return MHO_E_ARGUMENT;
    }
    memcpy(values, mho_find(machine, mho_get32(entry + 4)).data, count * sizeof *values);
    return MHO_OK;
}

const char *mho_status_text(mho_status status) {
    static const char *const texts[] = {
        "ok", "truncated image", "not an image", "image of a later version", "damaged image (checksum)",
        "impossible table", "impossible instruction", "impossible operand", "address outside of its buffer",
        "larger than mho_config.h allows", "impossible argument", "not loaded or not started",
        "NaN is to be quantized", "hardware error", "floating point is not IEEE 754's",
        "index outside of its table"
    };
    return (uint32_t)status < sizeof texts / sizeof *texts ? texts[status] : "unknown status";
}
