import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { CreateTaskRequest, TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { until } from '@flotilla/testing'
import { type Clients, callIn } from '../harness/clients.ts'
import type { Fixture } from '../harness/fixture.ts'

/** How a ticker ends when it is asked to by SIGTERM. */
export const tickerStatus = 37

const script = `trap 'echo bye; exit ${tickerStatus}' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.03; done`

/** A container that prints 1, 2, 3 …, each on a line, until SIGTERM. */
export interface Ticker {
  readonly id: string
  readonly pid: number
  /** Waits until it has printed more than there is now: it lives, and its output arrives. */
  goesOn(): Promise<void>
  /** Its whole output; throws if a line is missing. Only after its end. */
  wholeOutput(): Promise<void>
}

/** A ticker whose shim writes a file itself. */
export async function tickToFile(fixture: Fixture, image: string, id: string): Promise<Ticker> {
  const file = fixture.world.join(`${id}.log`)
  await fixture.ctr('run', '-d', '--log-uri', `file://${file}`, image, id, 'sh', '-c', script)
  return ticker(id, await pidOf(fixture, id), file)
}

/** A ticker whose client reads a FIFO, as ctr and the CRI do. */
export async function tickToFifo(fixture: Fixture, clients: Clients, image: string, id: string): Promise<Ticker> {
  const { namespace, world } = fixture
  const file = world.join(`${id}.copy`)
  const [stdout, stderr] = [world.join(`${id}.out`), world.join(`${id}.err`)]
  // The shim of runc wants both.
  execFileSync('mkfifo', [stdout, stderr])
  const copy = openSync(file, 'a')
  const reader = spawn('cat', [stdout], { stdio: ['ignore', copy, 'inherit'] })
  const other = spawn('cat', [stderr], { stdio: 'inherit' })
  closeSync(copy)
  for (const child of [reader, other]) world.cleanup(() => void child.kill('SIGKILL'))
  // This command of ctr would take the -c of `sh -c` for its own.
  writeFileSync(world.join('tick'), script)
  const mount = `type=bind,src=${world.join('tick')},dst=/tick,options=rbind:ro`
  await fixture.ctr('containers', 'create', '--mount', mount, image, id, 'sh', '/tick')
  const call = callIn(namespace)
  const { container } = await clients.of(ContainersDefinition).get({ id }, call)
  const { snapshotter = '', snapshotKey: key = '' } = container ?? {}
  const { mounts } = await clients.of(SnapshotsDefinition).mounts({ snapshotter, key }, call)
  const request = CreateTaskRequest.fromPartial({ containerId: id, rootfs: mounts, stdout, stderr })
  const { pid } = await clients.of(TasksDefinition).create(request, call)
  await clients.of(TasksDefinition).start({ containerId: id, execId: '' }, call)
  return ticker(id, pid, file, reader)
}

function ticker(id: string, pid: number, file: string, reader?: ChildProcess): Ticker {
  const read = () => readFileSync(file, 'utf8')
  return {
    id,
    pid,
    async goesOn() {
      const before = read().length
      await until(`${id} to print more`, () => read().length > before + 10)
    },
    async wholeOutput() {
      if (reader !== undefined && reader.exitCode === null) await once(reader, 'exit')
      const lines = read().trimEnd().split('\n')
      const last = lines.pop()
      const wrong = lines.findIndex((line, index) => line !== String(index + 1))
      if (last !== 'bye' || wrong !== -1) throw new Error(`output of ${id}, wrong at line ${wrong + 1}: ${read()}`)
    },
  }
}

export async function pidOf(fixture: Fixture, id: string): Promise<number> {
  const line = (await fixture.ctr('tasks', 'ls')).split('\n').find((one) => one.split(/\s+/)[0] === id)
  return Number(line?.split(/\s+/)[1])
}
