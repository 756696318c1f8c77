import { readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { unmountBelow } from '@flotilla/testing'

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
const entries = (path: string): string[] => {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

interface Process {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

function processes(): Process[] {
  return entries('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => ({
      pid: Number(entry),
      parent: Number(/^\d+ \(.*\) \S (\d+) /.exec(read(`/proc/${entry}/stat`))?.[1] ?? 0),
      command: read(`/proc/${entry}/cmdline`).replaceAll('\0', ' '),
    }))
}

/** Ends the shims that serve a socket with all that they started, and takes away what they left outside `dir`. */
export async function endContainers(dir: string, socket: string, state: string): Promise<void> {
  const all = processes()
  const doomed = new Set<number>()
  const take = (pid: number) => {
    doomed.add(pid)
    for (const child of all) if (child.parent === pid) take(child.pid)
  }
  for (const { command, pid } of all) if (/containerd-shim/.test(command) && command.includes(` ${socket} `)) take(pid)
  for (const pid of doomed) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
  }
  while ([...doomed].some((pid) => !['', 'Z'].includes(/\) (\S) /.exec(read(`/proc/${pid}/stat`))?.[1] ?? '')))
    await new Promise((resolve) => setTimeout(resolve, 20))
  const bundles = join(state, 'io.containerd.runtime.v2.task')
  for (const namespace of entries(bundles)) {
    for (const id of entries(join(bundles, namespace))) {
      const address =
        read(join(bundles, namespace, id, 'address')) || read(join(bundles, namespace, id, 'bootstrap.json'))
      const path = /unix:\/\/(\/run\/containerd\/[^"\s]+)/.exec(address)?.[1]
      if (path) rmSync(path, { force: true })
      for (const controller of entries('/sys/fs/cgroup'))
        for (const group of [`${namespace}/${id}`, namespace]) {
          try {
            rmdirSync(join('/sys/fs/cgroup', controller, group))
          } catch {
            // Not there, or another node's containers are in it.
          }
        }
    }
  }
  await unmountBelow(dir)
}
