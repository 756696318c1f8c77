import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'

/** What the figures depend on beside the programs. */
export function machineFacts(peer: string): Record<string, string | number> {
  const firstLine = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: 'utf8' }).split('\n')[0] ?? ''
  return {
    date: new Date().toISOString(),
    processor: cpus()[0]?.model ?? 'unknown',
    processors: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system: /^PRETTY_NAME="(.*)"/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown',
    node: process.version,
    containerd: firstLine(join(peer, 'containerd'), '--version'),
    runc: firstLine('runc', '--version'),
    redis: firstLine('redis-server', '--version'),
    /** Average of the last minute before the start: more than a little means that others use the machine. */
    load: loadavg()[0]?.toFixed(2) ?? '',
  }
}

/** The kernel counts processor time in hundredths of a second, proc(5). */
const tick = 10

/** Milliseconds of processor time that everything on this machine has used so far. */
export function busyTime(): number {
  const [, user, nice, system, , , interrupts, soft] = readFileSync('/proc/stat', 'utf8').split(/\s+/).map(Number)
  return [user, nice, system, interrupts, soft].reduce((sum: number, ticks = 0) => sum + ticks, 0) * tick
}

/** Milliseconds of processor time that a process has used, its children apart. */
export function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tick
}
