export { createTasksService, type TasksDeps } from './tasks-service.ts'
