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
