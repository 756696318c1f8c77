import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { expect } from 'vitest'
import { startCtr } from '../harness/ctr.ts'
import type { Fixture } from '../harness/fixture.ts'
import { labelsOf, rowsOf } from '../harness/output.ts'
import { sharedImage } from '../harness/shared-image.ts'
import { suite } from '../harness/suite.ts'

/** The snapshot that the shared image unpacks to. */
async function topOf({ ctr }: Fixture): Promise<string> {
  const rows = rowsOf(await ctr('snapshots', 'ls')).filter((row) => row.length === 3 && row[2] === 'Committed')
  return rows[0]?.[0] ?? ''
}

/** Runs the `mount` lines that `ctr snapshots mounts` prints, as a user would. */
function mount(lines: string): void {
  execFileSync('sh', ['-ec', lines])
}

for (const snapshotter of ['overlayfs', 'native'])
  suite(
    `snapshots on ${snapshotter}`,
    ({ test }) => {
      // The two drivers of containerd write the same options in different orders.
      const options = (access: string) => (snapshotter === 'native' ? `rbind,${access}` : `${access},rbind`)
      const on = ['snapshots', '--snapshotter', snapshotter]

      test('prepare, mounts, commit, and a child that sees what was written', async ({ ctr, world }) => {
        expect(await ctr(...on, 'prepare', 'base')).toBe('')
        const target = world.join('m')
        mkdirSync(target)
        const lines = await ctr(...on, 'mounts', target, 'base')
        expect(lines).toMatch(
          new RegExp(`^mount -t bind \\S+${snapshotter}/snapshots/\\d+(/fs)? ${target} -o ${options('rw')}\n$`),
        )
        mount(lines)
        writeFileSync(`${target}/file`, 'written')
        execFileSync('umount', [target])
        expect(await ctr(...on, 'commit', 'base-done', 'base')).toBe('')
        expect(await ctr(...on, 'prepare', '--target', target, 'child', 'base-done')).toMatch(/^mount -t /)
        mount(await ctr(...on, 'mounts', target, 'child'))
        expect(readFileSync(`${target}/file`, 'utf8')).toBe('written')
        execFileSync('umount', [target])
        expect(await ctr(...on, 'ls')).toMatch(/^KEY +PARENT +KIND *\n/)
        expect(rowsOf(await ctr(...on, 'ls'))).toEqual([
          ['base-done', 'Committed'],
          ['child', 'base-done', 'Active'],
        ])
      })

      test('view is read-only', async ({ ctr, world }) => {
        await ctr(...on, 'prepare', 'base')
        await ctr(...on, 'commit', 'base-done', 'base')
        const target = world.join('m')
        mkdirSync(target)
        const lines = await ctr(...on, 'view', '--target', target, 'seen', 'base-done')
        expect(lines).toMatch(new RegExp(` -o ${options('ro')}\n$`))
        mount(lines)
        expect(() => writeFileSync(`${target}/file`, 'x')).toThrow('EROFS')
        execFileSync('umount', [target])
      })

      test('tree shows descent, usage sizes, info the record, label the labels', async ({ ctr }) => {
        await ctr(...on, 'prepare', 'base')
        await ctr(...on, 'commit', 'base-done', 'base')
        await ctr(...on, 'prepare', 'child', 'base-done')
        expect(await ctr(...on, 'tree')).toBe(' base-done\n  \\_ child\n')
        expect(await ctr(...on, 'usage')).toMatch(/^KEY +SIZE +INODES *\n/)
        expect(rowsOf(await ctr(...on, 'usage', '-b', 'base-done'))[0]?.[0]).toBe('base-done')
        expect(JSON.parse(await ctr(...on, 'info', 'child'))).toMatchObject({
          Kind: 'Active',
          Name: 'child',
          Parent: 'base-done',
          Labels: { 'containerd.io/gc.root': expect.stringMatching(/^\d{4}-/) },
          Created: expect.stringMatching(/Z$/),
          Updated: expect.stringMatching(/Z$/),
        })
        expect(labelsOf(await ctr(...on, 'label', 'child', 'x=y'))).toMatchObject({ x: 'y' })
        expect(JSON.parse(await ctr(...on, 'info', 'child')).Labels).toMatchObject({ x: 'y' })
      })

      test('names that are taken, are not there, or have children', async ({ ctr, refused }) => {
        await ctr(...on, 'prepare', 'base')
        expect(await refused(...on, 'prepare', 'base')).toBe('ctr: snapshot "base": already exists\n')
        expect(await refused(...on, 'prepare', 'other', 'no-parent')).toBe(
          'ctr: parent snapshot no-parent does not exist: not found\n',
        )
        expect(await refused(...on, 'info', 'none')).toBe('ctr: snapshot none does not exist: not found\n')
        expect(await refused(...on, 'rm', 'none')).toBe(
          'ctr: failed to remove "none": snapshot none does not exist: not found\n',
        )
        await ctr(...on, 'commit', 'base-done', 'base')
        await ctr(...on, 'prepare', 'child', 'base-done')
        expect(await refused(...on, 'rm', 'base-done')).toMatch(
          /^ctr: failed to remove "base-done": cannot remove snapshot with child: failed precondition\n$/,
        )
        expect(await ctr(...on, 'rm', 'child')).toBe('')
        expect(await ctr(...on, 'rm', 'base-done')).toBe('')
        expect(rowsOf(await ctr(...on, 'ls'))).toEqual([])
      })

      test('diff gives a layer with what was changed', async ({ ctr, system, version, namespace, world }) => {
        await ctr(...on, 'prepare', 'base')
        await ctr(...on, 'commit', 'base-done', 'base')
        const target = world.join('m')
        mkdirSync(target)
        mount(await ctr(...on, 'prepare', '--target', target, 'child', 'base-done'))
        writeFileSync(`${target}/added`, 'new')
        execFileSync('umount', [target])
        const diff = startCtr({ address: system.address, version, namespace, args: [...on, 'diff', 'child'] })
        const pieces: Buffer[] = []
        diff.child.stdout.setEncoding('latin1' as BufferEncoding)
        diff.child.stdout.removeAllListeners('data').on('data', (piece) => pieces.push(Buffer.from(piece, 'latin1')))
        expect((await diff.result).code).toBe(0)
        const listed = execFileSync('tar', ['-t'], { input: gunzipSync(Buffer.concat(pieces)), encoding: 'utf8' })
        expect(listed.trim().split('\n')).toContain('added')
      })

      test('an image is unpacked into it', async (fixture) => {
        const { ctr, local } = fixture
        const { reference, image, bottom } = await sharedImage()
        await ctr(...local('pull', '--plain-http', '--snapshotter', snapshotter, reference))
        const rows = rowsOf(await ctr(...on, 'ls'))
        expect(rows.map((row) => row.at(-1))).toEqual(image.layers.map(() => 'Committed'))
        expect(rows.map((row) => row[0])).toContain(bottom.diffId)
        expect(await ctr(...on, 'usage', bottom.diffId)).toMatch(/1\.9 MiB/)
        if (snapshotter === 'overlayfs') expect(await topOf(fixture)).toMatch(/^sha256:/)
      })
    },
    { shared: true },
  )

suite(
  'snapshots',
  ({ test }) => {
    test('unpack makes the snapshots of an image that was only fetched', async ({ ctr }) => {
      const { reference, image, bottom } = await sharedImage()
      await ctr('content', 'fetch', '--plain-http', reference)
      const printed = await ctr('snapshots', 'unpack', image.target.digest)
      expect(printed).toMatch(/unpacking/)
      expect(rowsOf(await ctr('snapshots', 'ls')).map((row) => row[0])).toContain(bottom.diffId)
    })

    test('a snapshotter that is not there is named', async ({ refused }) => {
      expect(await refused('snapshots', '--snapshotter', 'nosuch', 'ls')).toBe(
        'ctr: snapshotter not loaded: nosuch: invalid argument\n',
      )
    })

    test('directories go with their snapshots', async ({ ctr, world }) => {
      await ctr('snapshots', 'prepare', 'base')
      const lines = await ctr('snapshots', 'mounts', world.join('m'), 'base')
      const directory = /bind (\S+)/.exec(lines)?.[1] ?? ''
      expect(existsSync(directory)).toBe(true)
      await ctr('snapshots', 'rm', 'base')
      for (let tries = 0; tries < 400 && existsSync(directory); tries++) await ctr('snapshots', 'ls')
      expect(existsSync(directory)).toBe(false)
    })
  },
  { shared: true },
)
