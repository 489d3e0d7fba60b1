"""What is asked, one folder a chapter: its probes (public: a student may read how an answer is exercised), its own rules."""
