import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { Lease } from '@flotilla/api/containerd/services/leases/v1/leases'
import { ActivateRequest } from '@flotilla/api/containerd/services/mounts/v1/mounts'
import { mountInfo } from '@flotilla/linux'
import { createLogger } from '@flotilla/log'
import { createMetadata, encode, type Metadata, snapshotTable, tables } from '@flotilla/metadata'
import { makeCall, status } from '@flotilla/rpc'
import { startRedis, type TempWorld, type TestRedis, tempWorld, until } from '@flotilla/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createMountsService, type MountsService } from './service.ts'
import { filled } from './template.ts'

type Request = Parameters<typeof ActivateRequest.fromPartial>[0]

let redis: TestRedis
let metadata: Metadata
let world: TempWorld
let mounts: MountsService

const boot = async () => {
  mounts = await createMountsService({
    metadata,
    nodeName: 'n1',
    directory: world.join('mounts'),
    roots: [world.path],
    interval: 100,
    logger: createLogger({ level: 'fatal', name: 'mounts' }),
  })
}
beforeAll(async () => {
  redis = await startRedis({ relaxed: true })
  metadata = await createMetadata({ url: redis.url, origin: 'test' })
  world = await tempWorld({ name: 'mounts' })
  for (const name of ['a', 'b', 'c']) {
    await mkdir(world.join(name))
    writeFileSync(world.join(name, name), name)
  }
  await boot()
})
afterAll(async () => {
  await mounts?.[Symbol.asyncDispose]()
  await metadata?.[Symbol.asyncDispose]()
  await redis?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

const call = (lease?: string) => makeCall({ namespace: 'tests', lease })
const activate = async (request: Request, lease?: string) =>
  (await mounts.activate(ActivateRequest.fromPartial(request), call(lease))).info!
const bind = (name: string) => ({ type: 'bind', source: world.join(name), options: ['rbind', 'ro'] })
const mounted = () => mountInfo().filter(({ target }) => target.startsWith(world.path))

test('what needs no manager is left to the client', async () => {
  await expect(activate({ name: 'plain', mounts: [bind('a')] })).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
  await expect(mounts.info({ name: 'plain' }, call())).rejects.toMatchObject({ code: status.NOT_FOUND })
})

test('templates are filled with the mounts before them, and directories made', async () => {
  const upper = world.join('upper')
  const info = await activate({
    name: 'overlay',
    labels: { l: '1' },
    mounts: [
      bind('a'),
      bind('b'),
      {
        type: 'format/mkdir/overlay',
        source: 'overlay',
        options: [`X-containerd.mkdir.path=${upper}:0755`, 'lowerdir={{ overlay 1 0 }}', `upperdir=${upper}`],
      },
    ],
  })
  const [one, two] = info.active.map(({ mountPoint }) => mountPoint)
  expect(readFileSync(`${one}/a`, 'utf8')).toBe('a')
  expect(info.system).toEqual([
    { type: 'overlay', source: 'overlay', target: '', options: [`lowerdir=${two}:${one}`, `upperdir=${upper}`] },
  ])
  expect(existsSync(upper)).toBe(true)
  await expect(activate({ name: 'overlay', mounts: [], temporary: true })).rejects.toMatchObject({
    code: status.UNIMPLEMENTED,
  })
  await expect(activate({ name: 'overlay', temporary: true, mounts: [bind('a')] })).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
  })
  const list = async (...filters: string[]) =>
    (await Array.fromAsync(mounts.list({ filters }, call()))).map((message) => message.info?.name)
  expect(await list('labels.l==1')).toEqual(['overlay'])
  expect(await list('name==other')).toEqual([])
  await mounts.update({ info: { ...info, labels: { m: '2' } }, updateMask: ['labels.m'] }, call())
  expect((await mounts.info({ name: 'overlay' }, call())).info?.labels).toEqual({ l: '1', m: '2' })
  await mounts.deactivate({ name: 'overlay' }, call())
  expect(mounted()).toEqual([])
  expect(await readdir(world.join('mounts'))).toEqual([])
})

test('a file system in a file is mounted over a loop device', async () => {
  const image = world.join('image')
  execFileSync('truncate', ['-s', '8M', image])
  execFileSync('mkfs.ext4', ['-q', image])
  const info = await activate({
    name: 'loop',
    temporary: true,
    mounts: [
      { type: 'loop', source: image },
      { type: 'format/ext4', source: '{{ mount 0 }}' },
    ],
  })
  expect(existsSync(`${info.active[1]?.mountPoint}/lost+found`)).toBe(true)
  expect(info.system).toEqual([{ type: 'bind', source: info.active[1]?.mountPoint, target: '', options: ['rbind'] }])
  await mounts.deactivate({ name: 'loop' }, call())
  expect(execFileSync('losetup', ['--associated', image]).toString()).toBe('')
})

test('mkfs/ makes the file once, and leaves one that is there', async () => {
  const image = world.join('made')
  const uuid = '5b29e33a-0c4e-4c2b-9a5f-0d8f1b0c5c11'
  const mkfs = (...options: string[]) => options.map((option) => `X-containerd.mkfs.${option}`)
  const request = {
    temporary: true,
    mounts: [
      { type: 'mkfs/loop', source: image, options: mkfs('size=8MiB', 'fs=ext4', `uuid=${uuid}`) },
      { type: 'format/ext4', source: '{{ mount 0 }}' },
    ],
  }
  const first = await activate({ name: 'made', ...request })
  expect(first.active[0]?.mount?.options).toEqual([])
  expect(execFileSync('blkid', ['-o', 'value', '-s', 'UUID', image], { encoding: 'utf8' }).trim()).toBe(uuid)
  writeFileSync(`${first.active[1]?.mountPoint}/kept`, '')
  await mounts.deactivate({ name: 'made' }, call())
  const again = await activate({ name: 'made again', ...request })
  expect(existsSync(`${again.active[1]?.mountPoint}/kept`)).toBe(true)
  await mounts.deactivate({ name: 'made again' }, call())

  // By the option `loop`, as a client is told that mounts it itself.
  const own = { type: 'mkfs/ext4', source: world.join('other'), options: [...mkfs('size=8388608'), 'loop', 'rw'] }
  const told = await activate({ name: 'told', mounts: [own] })
  expect(told.system).toEqual([{ type: 'ext4', source: own.source, target: '', options: ['loop', 'rw'] }])
  const mine = await activate({ name: 'mine', temporary: true, mounts: [own] })
  expect(existsSync(`${mine.active[0]?.mountPoint}/lost+found`)).toBe(true)
  for (const name of ['told', 'mine']) await mounts.deactivate({ name }, call())
  expect(execFileSync('losetup', ['--associated', own.source]).toString()).toBe('')

  const refused = (source: string, options: string[], code: number) =>
    expect(activate({ name: 'refused', mounts: [{ type: 'mkfs/ext4', source, options }] })).rejects.toMatchObject({
      code,
    })
  const absent = world.join('absent')
  await refused(absent, mkfs('fs=ext4'), status.INVALID_ARGUMENT)
  await refused(absent, mkfs('size=much'), status.INVALID_ARGUMENT)
  await refused(absent, mkfs('size=1M', 'shape=round'), status.INVALID_ARGUMENT)
  await refused(absent, mkfs('size=1M', 'uuid=-q'), status.INVALID_ARGUMENT)
  await refused(absent, mkfs('size=1M', 'fs=ntfs'), status.UNIMPLEMENTED)
  await refused(absent, mkfs('size=1K'), status.FAILED_PRECONDITION)
  await refused('/etc/flotilla-test', mkfs('size=8M'), status.INVALID_ARGUMENT)
  await refused(world.join('a'), mkfs('size=8M'), status.FAILED_PRECONDITION)
  expect((await readdir(world.path)).filter((name) => name.includes('absent') || name.startsWith('.'))).toEqual([])
  expect(await readdir(world.join('mounts'))).toEqual([])
})

test('one that fails leaves nothing', async () => {
  const broken = { type: 'bind', source: world.join('none'), options: ['rbind'] }
  await expect(activate({ name: 'broken', temporary: true, mounts: [bind('a'), broken] })).rejects.toThrow(
    /mount 2 of "broken"/,
  )
  const outside = { type: 'mkdir/bind', source: '/', options: ['X-containerd.mkdir.path=/etc/flotilla-test'] }
  await expect(activate({ name: 'broken', mounts: [outside] })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  expect(mounted()).toEqual([])
  expect(await readdir(world.join('mounts'))).toEqual([])
})

test('goes on over a restart, and ends with its lease', async () => {
  await expect(activate({ name: 'leased', temporary: true, mounts: [bind('a')] }, 'none')).rejects.toMatchObject({
    code: status.NOT_FOUND,
  })
  const lease = {
    op: 'set',
    table: tables.leases,
    field: 'l1',
    value: encode(Lease, Lease.fromPartial({ id: 'l1' })),
  } as const
  await metadata.transact('tests', { writes: [lease] })
  await activate({ name: 'leased', temporary: true, mounts: [bind('a')] }, 'l1')
  await mounts[Symbol.asyncDispose]()
  // What a crash leaves of one that was never whole, and what containerd keeps in the directory.
  const rest = world.join(`mounts/${randomUUID()}`)
  await mkdir(`${rest}/1`, { recursive: true })
  const theirs = [world.join('mounts/mounts.db'), world.join('mounts/t')] as const
  writeFileSync(theirs[0], '')
  await mkdir(`${theirs[1]}/1`, { recursive: true })
  await boot()
  expect(mounted()).toHaveLength(1)
  expect(existsSync(rest)).toBe(false)
  expect(theirs.map((path) => existsSync(path))).toEqual([true, true])
  for (const path of theirs) await rm(path, { recursive: true })
  await metadata.transact('tests', { writes: [{ op: 'delete', table: tables.leases, field: 'l1' }] })
  await until('the mount to go', () => mounted().length === 0)
  await until('its record to go', () =>
    mounts.info({ name: 'leased' }, call()).then(
      () => false,
      () => true,
    ),
  )
})

test('ends with the last of those that its labels tie it to, whatever its lease', async () => {
  const put = (table: string, field: string) =>
    metadata.transact('tests', { writes: [{ op: 'set', table, field, value: Buffer.alloc(0) }] })
  const drop = (table: string, field: string) =>
    metadata.transact('tests', { writes: [{ op: 'delete', table, field }] })
  const snapshots = snapshotTable('n1', 'overlayfs')
  await put(tables.containers, 'c1')
  await put(snapshots, 's1')
  const labels = { 'containerd.io/gc.bref.container': 'c1', 'containerd.io/gc.bref.snapshot.overlayfs/x': 's1' }
  await activate({ name: 'tied', temporary: true, mounts: [bind('a')], labels })
  await activate({ name: 'free', temporary: true, mounts: [bind('b')], labels: { other: 'x' } })
  await put(tables.leases, 'passing')
  const gone = { 'containerd.io/gc.bref.image': 'never there' }
  await activate({ name: 'held', temporary: true, mounts: [bind('c')], labels: gone }, 'passing')
  const names = async () =>
    (await Array.fromAsync(mounts.list({ filters: [] }, call()))).map((message) => message.info?.name)
  await drop(tables.containers, 'c1')
  // A marker that goes by the same look as the others would.
  await activate({ name: 'marker', temporary: true, mounts: [bind('a')], labels: gone })
  await until('a look at all of them', async () => !(await names()).includes('marker'))
  expect((await names()).sort()).toEqual(['free', 'held', 'tied'])
  await drop(snapshots, 's1')
  await drop(tables.leases, 'passing')
  await until('the tied ones to go', async () => (await names()).length === 1)
  await mounts.deactivate({ name: 'free' }, call())
  expect(mounted()).toEqual([])
})

test.each(['{{ mount 3 }}', '{{ overlay 0 9 }}', '{{ .X }}', '{{ mount }}'])('the template %s is refused', (text) => {
  expect(() => filled(text, [])).toThrow(expect.objectContaining({ code: status.INVALID_ARGUMENT }))
})
