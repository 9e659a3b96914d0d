// streams.h is the emulated device's queues of work, for the driver only.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace emu {

using Operation = std::function<int()>;  // 0, or the error that it ends with

struct Graph {
	std::vector<Operation> operations;
};

struct Stream;

Stream* new_stream(bool blocking);
void delete_stream(Stream*);  // after its work is done

// enqueue adds work to a stream, which runs it when SetLanding says so; nullptr is the null stream, which blocking streams wait
// for and which waits for them.
void enqueue(Stream*, Operation);
// submit is enqueue, or records the work where the stream captures. It returns the error that failed has afterwards.
int submit(Stream*, Operation);
// finish runs what a stream holds, or until done says that enough has run; finish_blocking what a call without a stream waits for.
void finish(Stream*, const std::function<bool()>& done = nullptr);
void finish_blocking();
void finish_all();
// drop forgets what no stream has run yet.
void drop();

// failed is the first error of work that ran, which every later call returns until the context ends; clear_failed ends it.
int failed();
void clear_failed();

// The recording that a stream makes, or none.
std::unique_ptr<Graph>& capture_of(Stream*);

}  // namespace emu
