/* A plugin of qemu-user that counts the guest's executed instructions.
 *
 * Loaded with -plugin LIBRARY,count=FILE. Whenever the guest calls getsid(MARK), which no program
 * does by chance and which changes nothing, the count so far is written to FILE: 20 digits.
 *
 * The prototypes are those of qemu's qemu-plugin.h, which Debian 12 has no package for. Versions of
 * the interface from 2 on may have dropped the inline sum; then each block calls back.
 * Source: https://www.qemu.org/docs/master/devel/tcg-plugins.html
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MARK 0x7ed6e001
#define SYSCALL_GETSID 156 /* on aarch64 */
#define INLINE_ADD_U64 0
#define CALLBACK_READS_NO_REGISTERS 0

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_trans_cb(
    plugin_id id, void (*callback)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *block, void (*callback)(unsigned, void *), int flags, void *data);
__attribute__((weak)) void qemu_plugin_register_vcpu_tb_exec_inline(
    struct qemu_plugin_tb *block, int operation, void *sum, uint64_t summand);
void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id id, void (*callback)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                   uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

int qemu_plugin_version = INTERFACE;

static uint64_t instructions;
static FILE *file;

static void add(unsigned cpu, void *block_instructions)
{
    instructions += (uintptr_t)block_instructions;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *block)
{
    uint64_t size = qemu_plugin_tb_n_insns(block);
    if (qemu_plugin_register_vcpu_tb_exec_inline)
        qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &instructions, size);
    else
        qemu_plugin_register_vcpu_tb_exec_cb(
            block, add, CALLBACK_READS_NO_REGISTERS, (void *)(uintptr_t)size);
}

static void on_syscall(plugin_id id, unsigned cpu, int64_t number, uint64_t argument, uint64_t b,
                       uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    if (number == SYSCALL_GETSID && (uint32_t)argument == MARK) {
        rewind(file);
        fprintf(file, "%020" PRIu64, instructions);
        fflush(file);
    }
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    const char *name = "count=";
    if (argc != 1 || strncmp(argv[0], name, strlen(name)) || !(file = fopen(argv[0] + strlen(name), "w")))
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    return 0;
}
