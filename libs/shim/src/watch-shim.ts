import type { Node } from './node.ts'
import { buryTask } from './remove-task.ts'
import { type Task, taskKey } from './task.ts'

/** Removes a task when its shim dies without having been told to. */
export function watchShim(node: Node, task: Task): void {
  const { id, namespace } = task
  const key = taskKey(namespace, id)
  void task.shim.ended.then(async () => {
    try {
      await node.lock.run(key, async () => {
        if (!task.ending && node.tasks.get(key) === task) await buryTask(node, task)
      })
    } catch (err) {
      node.deps.logger.error({ err, namespace, id }, 'a dead shim cannot be cleaned up')
    }
  })
}
