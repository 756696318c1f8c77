import { endTask, hasCode, status } from '@flotilla/client'
import { type Command, flag } from '../command.ts'

export const rm: Command = {
  name: 'rm',
  arguments: 'CONTAINER…',
  summary: 'Remove containers with their snapshots',
  options: { force: { type: 'boolean', short: 'f', text: 'end their tasks first' } },
  count: { min: 1, max: Number.POSITIVE_INFINITY },
  completes: 'containers',
  async run({ client, args, values }) {
    for (const id of args) {
      const { container } = await client.containers.get({ id })
      const there = client.with({ node: container?.labels['flotilla.io/node'] })
      const gone = async (work: () => Promise<unknown>) => {
        try {
          await work()
        } catch (error) {
          if (!hasCode(error, status.NOT_FOUND)) throw error
        }
      }
      // A task that runs refuses to be deleted.
      await gone(() => (flag(values, 'force') ? endTask(there, id) : there.tasks.delete({ containerId: id })))
      await there.containers.delete({ id })
      const { snapshotter = '', snapshotKey: key = '' } = container ?? {}
      if (key !== '') await gone(() => there.snapshots.remove({ snapshotter, key }))
    }
    return undefined
  },
}
