import { readdirSync, writeFileSync } from 'node:fs'
import { Kind } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { status } from '@flotilla/rpc'
import { expect, test } from 'vitest'
import type { Session } from './session.ts'

const empty = () => {}
const refusal = (code: number, message: string) => ({ code, message })

/** Kinds, names, errors and the order of removal. */
export function lifeCases(session: () => Session): void {
  test('prepared from nothing it is an empty, writable tree', async () => {
    const s = session()
    const mounts = await s.prepare('k')
    expect(mounts[0]?.options).not.toContain('ro')
    await s.inside(mounts, (root) => {
      expect(readdirSync(root)).toEqual([])
      writeFileSync(`${root}/f`, '')
    })
    await s.inside(mounts, (root) => expect(readdirSync(root)).toEqual(['f']))
  })

  test('Mounts answers what Prepare and View did, every time', async () => {
    const s = session()
    const base = await s.layer('', empty)
    const top = await s.layer(base, empty)
    for (const [kind, parent] of [...Object.entries({ none: '', one: base, two: top })]) {
      const [active, view] = [await s.prepare(`a ${kind}`, parent), await s.view(`v ${kind}`, parent)]
      for (let i = 0; i < 2; i++) {
        expect(await s.mounts(`a ${kind}`)).toEqual(active)
        expect(await s.mounts(`v ${kind}`)).toEqual(view)
      }
    }
  })

  test('kind, parent and times follow it from active to committed', async () => {
    const s = session()
    const base = await s.layer('', empty)
    await s.prepare('k', base)
    const active = await s.stat('k')
    expect(active).toMatchObject({ name: 'k', parent: base, kind: Kind.ACTIVE })
    expect(active.updatedAt).toEqual(active.createdAt)
    await s.view('v', base)
    expect(await s.stat('v')).toMatchObject({ name: 'v', parent: base, kind: Kind.VIEW })
    await s.commit('n', 'k')
    const committed = await s.stat('n')
    expect(committed).toMatchObject({ name: 'n', parent: base, kind: Kind.COMMITTED })
    expect(committed.createdAt).not.toEqual(active.createdAt)
    await expect(s.stat('k')).rejects.toMatchObject(refusal(status.NOT_FOUND, 'snapshot k does not exist: not found'))
  })

  test('a key is free again once it was committed', async () => {
    const s = session()
    await s.layer('', (root) => writeFileSync(`${root}/f`, ''), 'n')
    const mounts = await s.prepare('key of n')
    await s.inside(mounts, (root) => expect(readdirSync(root)).toEqual([]))
  })

  test('keys and names may hold anything', async () => {
    const s = session()
    const names = ['-dash', 'with space', 'a/b', '../up', '{}', 'ünï', 'new\nline', 'x'.repeat(5_000), '*']
    for (const name of names) await s.layer('', empty, name)
    expect((await s.names()).sort()).toEqual([...names].sort())
    for (const name of names) expect((await s.stat(name)).name).toBe(name)
  })

  test('a key in use, be it active, view or committed, is taken', async () => {
    const s = session()
    await s.layer('', empty, 'n')
    await s.prepare('a')
    await s.view('v')
    const before = await s.tested.directories()
    for (const key of ['n', 'a', 'v']) {
      const taken = refusal(status.ALREADY_EXISTS, `snapshot "${key}": already exists`)
      await expect(s.prepare(key)).rejects.toMatchObject(taken)
      await expect(s.view(key)).rejects.toMatchObject(taken)
    }
    expect(await s.tested.directories()).toEqual(before)
  })

  test('a parent must be there and committed', async () => {
    const s = session()
    await s.prepare('a')
    await s.view('v')
    const before = await s.tested.directories()
    for (const make of [s.prepare.bind(s), s.view.bind(s)]) {
      await expect(make('k', 'none')).rejects.toMatchObject(
        refusal(status.NOT_FOUND, 'parent snapshot none does not exist: not found'),
      )
      for (const parent of ['a', 'v']) {
        await expect(make('k', parent)).rejects.toMatchObject({
          code: status.INVALID_ARGUMENT,
          message: expect.stringMatching(/parent "[av]" is not committed snapshot: invalid argument$/),
        })
      }
    }
    expect(await s.tested.directories()).toEqual(before)
    expect(await s.names()).toEqual(['a', 'v'])
  })

  test('committing twice, to a taken name, or what is not active is refused and changes nothing', async () => {
    const s = session()
    await s.layer('', empty, 'n')
    await s.prepare('k')
    await s.view('v')
    const taken = refusal(status.ALREADY_EXISTS, 'snapshot "n": already exists')
    await expect(s.commit('n', 'k')).rejects.toMatchObject(taken)
    await expect(s.commit('n', 'key of n')).rejects.toMatchObject(taken)
    await expect(s.commit('k', 'k')).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
    await expect(s.commit('m', 'none')).rejects.toMatchObject({ code: status.NOT_FOUND })
    for (const key of ['v', 'n']) {
      await expect(s.commit('m', key)).rejects.toMatchObject({
        code: status.FAILED_PRECONDITION,
        message: expect.stringMatching(/is not active: failed precondition$/),
      })
    }
    expect(await s.names()).toEqual(['k', 'n', 'v'])
    await s.commit('m', 'k')
    expect(await s.names()).toEqual(['m', 'n', 'v'])
  })

  test('what is committed has no mounts, what is unknown is not found', async () => {
    const s = session()
    await s.layer('', empty, 'n')
    await expect(s.mounts('n')).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: expect.stringMatching(/requested snapshot .*not active or view: failed precondition$/),
    })
    const absent = refusal(status.NOT_FOUND, 'snapshot none does not exist: not found')
    await expect(s.mounts('none')).rejects.toMatchObject(absent)
    await expect(s.stat('none')).rejects.toMatchObject(absent)
    await expect(s.usage('none')).rejects.toMatchObject(absent)
    await expect(s.remove('none')).rejects.toMatchObject(absent)
  })

  test('parents are removed after their children, and directories with them', async () => {
    const s = session()
    await s.tested.collect()
    const before = await s.tested.directories()
    const base = await s.layer('', empty)
    const top = await s.layer(base, empty)
    await s.prepare('a', top)
    await s.view('v', top)
    const refused = refusal(status.FAILED_PRECONDITION, 'cannot remove snapshot with child: failed precondition')
    for (const name of [base, top]) await expect(s.remove(name)).rejects.toMatchObject(refused)
    await s.remove('a')
    await expect(s.remove(top)).rejects.toMatchObject(refused)
    await s.remove('v')
    await expect(s.remove(base)).rejects.toMatchObject(refused)
    await s.remove(top)
    await s.remove(base)
    expect(await s.names()).toEqual([])
    await s.tested.collect()
    expect(await s.tested.directories()).toEqual(before)
  })

  test('collecting takes nothing that has a record', async () => {
    const s = session()
    const base = await s.layer('', (root) => writeFileSync(`${root}/f`, 'kept'))
    const mounts = await s.prepare('a', base)
    await s.tested.collect()
    await s.inside(mounts, (root) => expect(readdirSync(root)).toEqual(['f']))
    await s.look(base, (root) => expect(readdirSync(root)).toEqual(['f']))
  })

  test('a snapshot made for a name that is there already is refused by that name', async () => {
    const s = session()
    const label = (target: string) => ({ 'containerd.io/snapshot.ref': target })
    await s.prepare('extract', '', label('chain'))
    await s.commit('chain', 'extract')
    await expect(s.prepare('extract', '', label('chain'))).rejects.toMatchObject(
      refusal(status.ALREADY_EXISTS, 'target snapshot "chain": already exists'),
    )
    expect(await s.names()).toEqual(['chain'])
  })

  test('a list comes in byte order, in groups of at most a hundred, as filters say', async () => {
    const s = session()
    await s.layer('', empty, 'base')
    for (let i = 0; i < 150; i++) await s.view(`v${i}`, 'base')
    expect((await s.groups()).map((group) => group.length)).toEqual([100, 51])
    const names = await s.names()
    expect(names).toEqual([...names].sort())
    expect(await s.names('kind==committed')).toEqual(['base'])
    expect(await s.names('name==v7', 'name==v9')).toEqual(['v7', 'v9'])
    expect((await s.names('parent==base,kind==view')).length).toBe(150)
    expect(await s.groups('name==none')).toEqual([])
  })

  test('another namespace sees none of it, and may use the same keys', async () => {
    const s = session()
    await s.layer('', (root) => writeFileSync(`${root}/f`, ''), 'n')
    const other = { ...s.call, namespace: `${s.call.namespace}-other` }
    const { service, snapshotter } = s.tested
    const request = { snapshotter, key: 'n', parent: '', labels: {} }
    await expect(service.stat(request, other)).rejects.toMatchObject({ code: status.NOT_FOUND })
    const { mounts } = await service.prepare(request, other)
    await s.inside(mounts, (root) => expect(readdirSync(root)).toEqual([]))
  })
}
