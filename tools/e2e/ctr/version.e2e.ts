import { expect } from 'vitest'
import { suite } from '../harness/suite.ts'

suite(
  'version and plugins',
  ({ test }) => {
    test('version prints client and server', async ({ ctr }) => {
      const printed = await ctr('version')
      expect(printed).toMatch(/^Client:\n {2}Version: {2}\S+\n {2}Revision: \S*\n {2}Go version: go\S+\n\nServer:\n/)
      expect(printed).toMatch(/Server:\n {2}Version: {2}\S+\n {2}Revision: \S*\n {2}UUID: [0-9a-f-]{36}\n/)
    })

    test('plugins lists what clients look for, and all are ok', async ({ ctr }) => {
      const printed = await ctr('plugins', 'ls')
      const rows = printed
        .trim()
        .split('\n')
        .slice(1)
        .map((line) => line.trim().split(/\s+/))
      const of = (type: string) => rows.filter((row) => row[0] === type).map((row) => row[1])
      expect(of('io.containerd.snapshotter.v1')).toEqual(expect.arrayContaining(['native', 'overlayfs']))
      expect(of('io.containerd.content.v1')).toEqual(['content'])
      for (const id of [
        'containers',
        'content',
        'diff',
        'events',
        'images',
        'leases',
        'namespaces',
        'snapshots',
        'tasks',
      ])
        expect(of('io.containerd.grpc.v1')).toContain(id)
      for (const row of rows) expect(['ok', 'skip'], row.join(' ')).toContain(row[3])
    })

    test('plugins --detailed shows platforms and exports', async ({ ctr }) => {
      const printed = await ctr('plugins', 'ls', '--detailed', 'id==overlayfs')
      expect(printed).toMatch(/Type: +io\.containerd\.snapshotter\.v1\n/)
      expect(printed).toMatch(/ID: +overlayfs\n/)
      expect(printed).toMatch(/Platforms: +linux\/amd64|Platforms: +linux\/arm64/)
    })

    test('oci spec prints a runtime spec', async ({ ctr }) => {
      const spec = JSON.parse(await ctr('oci', 'spec'))
      expect(spec).toMatchObject({ process: { cwd: '/' }, root: { path: 'rootfs' }, linux: {} })
    })
  },
  { shared: true },
)
