/* Checks every instruction of an image once, for all values of the variables of its loops: what passes cannot leave its
   buffers and constants when it runs. Here the structure of the code; mho_check_*.c check a family of instructions each. */
#include "mho_check.h"

#define MOST_EXECUTED 100000000000ULL
enum { MOST_REGIONS = MHO_MAX_LOOPS + 4 };

static void check_one(mho_reader *r, uint32_t opcode) {
    if (opcode < OP_UNARY) {
        mho_check_crossbar(r, opcode);
    } else if (opcode < OP_INT_QUANTIZE) {
        mho_check_float(r, opcode);
    } else {
        mho_check_integer(r, opcode);
    }
    mho_require(r, r->at == r->end, MHO_E_CODE);
}

mho_status mho_check_code(mho_machine *machine) {
    const mho_program *p = &machine->program;
    uint32_t ends[MOST_REGIONS], is_loop[MOST_REGIONS], regions = 0, at = 0;
    uint64_t turns[MOST_REGIONS + 1];
    mho_reader r;
    memset(&r, 0, sizeof r);
    r.machine = machine;
    turns[0] = 1;
    machine->program.executed = 0;
    while (at < p->code_words || regions > 0) {
        uint32_t word, opcode, length, end;
        if (regions > 0 && at == ends[regions - 1]) {
            regions--;
            r.levels -= is_loop[regions];
            continue;
        }
        word = mho_word(machine, at);
        opcode = word & 0xffU, length = word >> 8;
        end = regions > 0 ? ends[regions - 1] : p->code_words;
        if (length < 1 || length > end - at) {
            return MHO_E_CODE;
        }
        r.at = at + 1, r.end = at + length, r.status = MHO_OK;
        if (opcode == OP_LOOP || opcode == OP_WINDOW || opcode == OP_LAYER) {
            uint64_t count = 1;
            if (opcode != OP_WINDOW) {
                count = mho_read_word(&r);
            }
            if (regions == MOST_REGIONS || (opcode == OP_LOOP && r.levels == MHO_MAX_LOOPS)) {
                return MHO_E_CONFIG;
            }
            if (r.status != MHO_OK || (opcode == OP_LAYER && (regions > 0 || count >= p->layers)) ||
                (opcode == OP_LOOP && (count < 1 || count > 0x7fffffffU)) || (opcode != OP_LAYER && regions == 0)) {
                return MHO_E_CODE;
            }
            is_loop[regions] = opcode == OP_LOOP;
            if (opcode == OP_LOOP) {
                r.counts[r.levels++] = (uint32_t)count;
            } else {
                count = 1;
            }
            ends[regions] = at + length;
            if (turns[regions] > MOST_EXECUTED / count) {
                return MHO_E_OPERAND;
            }
            turns[regions + 1] = turns[regions] * count;
            regions++;
            at = r.at;
            continue;
        }
        check_one(&r, opcode);
        if (r.status != MHO_OK) {
            return r.status;
        }
        machine->program.executed += turns[regions];
        if (machine->program.executed > MOST_EXECUTED) {
            return MHO_E_OPERAND;
        }
        at += length;
    }
    return MHO_OK;
}
