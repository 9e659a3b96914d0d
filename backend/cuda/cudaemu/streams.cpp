//go:build cuda && cudaemu

// Streams: work waits in them as a GPU may let it wait, so that a host that forgets to wait finds what was there before.
#include "streams.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <set>

#include "cuda_emu.h"
#include "cudaemu.h"

namespace emu {

struct Stream {
	bool blocking;
	std::deque<Operation> queue;
	std::unique_ptr<Graph> capture;
};

namespace {

// Held while work is queued or runs: the device does one thing at a time.
std::mutex device;
std::atomic<int> first_error{0};
Stream null_stream{true, {}, nullptr};
std::set<Stream*> streams{&null_stream};
uint32_t random_state = 1;

// run_one runs the oldest operation of a stream. What follows an error does not run.
void run_one(Stream& s) {
	Operation f = std::move(s.queue.front());
	s.queue.pop_front();
	if (first_error) return;
	if (int e = f()) first_error = e;
}

void run(Stream& s, const std::function<bool()>& done = nullptr) {
	while (!s.queue.empty() && !(done && done())) run_one(s);
}

void run_blocking() {
	for (Stream* s : streams)
		if (s->blocking) run(*s);
}

}  // namespace

Stream* new_stream(bool blocking) {
	std::lock_guard<std::mutex> lock(device);
	return *streams.insert(new Stream{blocking, {}, nullptr}).first;
}

void delete_stream(Stream* s) {
	std::lock_guard<std::mutex> lock(device);
	run(*s);
	streams.erase(s);
	delete s;
}

void enqueue(Stream* to, Operation f) {
	std::lock_guard<std::mutex> lock(device);
	Stream& s = to ? *to : null_stream;
	// Order between the null stream and blocking ones is kept by running what comes first at once.
	if (!to) run_blocking();
	else if (s.blocking) run(null_stream);
	s.queue.push_back(std::move(f));
	unsigned how = landing();
	if (how == kLandAtOnce) return run(s);
	if (how == kLandLate) return;
	for (Stream* other : streams)
		for (uint32_t n = next_random(random_state, how) % 4; n && !other->queue.empty(); n--) run_one(*other);
}

int submit(Stream* s, Operation f) {
	if (auto& graph = capture_of(s)) return graph->operations.push_back(std::move(f)), 0;
	enqueue(s, std::move(f));
	return first_error;
}

void finish(Stream* s, const std::function<bool()>& done) {
	std::lock_guard<std::mutex> lock(device);
	run(s ? *s : null_stream, done);
}

void finish_blocking() {
	std::lock_guard<std::mutex> lock(device);
	run_blocking();
}

void finish_all() {
	std::lock_guard<std::mutex> lock(device);
	for (Stream* s : streams) run(*s);
}

void drop() {
	std::lock_guard<std::mutex> lock(device);
	for (Stream* s : streams) s->queue.clear();
}

int failed() { return first_error; }
void clear_failed() { first_error = 0; }

std::unique_ptr<Graph>& capture_of(Stream* s) { return (s ? s : &null_stream)->capture; }

}  // namespace emu
